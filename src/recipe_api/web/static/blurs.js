// ThumbHash: a blurred photo as about twenty cosine waves, in about 25 bytes (https://evanw.github.io/thumbhash).

const SIDE = 24; // pixels; the browser stretches them to the photo's proportions, and smooths them
const HALVES = 7; // half waves, at most, across a photo
const WAVES = Array.from({ length: HALVES }, (_, halves) =>
  Array.from({ length: SIDE }, (_, at) => Math.cos((Math.PI * halves * (at + 0.5)) / SIDE)),
);

/** Returns a canvas with the blurred photo that a ThumbHash in base64 describes. */
export function blurOf(hash) {
  const channels = channelsOf(hash);
  const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(SIDE, SIDE);
  for (let at = 0; at < SIDE * SIDE; at++) {
    const [l, p, q, a] = channels.map((channel) => valueOf(channel, at % SIDE, Math.floor(at / SIDE)));
    const blue = l - (2 / 3) * p;
    const red = (3 * l - blue + q) / 2;
    [red, red - q, blue, a].forEach((value, part) => (pixels.data[4 * at + part] = value * 255));
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// Each channel has its mean and its waves: luminance, yellow to blue, red to green, and opacity.
function channelsOf(hash) {
  const take = readerOf(Uint8Array.from(atob(hash), (character) => character.charCodeAt(0)));
  const share = (bits) => take(bits) / (2 ** bits - 1);
  const means = [share(6), 2 * share(6) - 1, 2 * share(6) - 1];
  const scales = [share(5)];
  const isTransparent = take(1);
  const long = isTransparent ? 5 : 7;
  const short = Math.max(take(3), 3);
  scales.push(share(6) * 1.25, share(6) * 1.25);
  const counts = [take(1) ? [long, short] : [short, long], [3, 3], [3, 3], [5, 5]];
  if (isTransparent) [means[3], scales[3]] = [share(4), share(4)];
  else [means[3], counts[3]] = [1, [0, 0]];
  return means.map((mean, at) => ({ mean, waves: wavesOf(counts[at], scales[at], share) }));
}

function wavesOf([across, down], scale, share) {
  const waves = [];
  for (let y = 0; y < down; y++) {
    for (let x = y ? 0 : 1; x * down < across * (down - y); x++) {
      waves.push([x, y, 2 * scale * (2 * share(4) - 1)]);
    }
  }
  return waves;
}

const valueOf = ({ mean, waves }, column, row) =>
  waves.reduce((sum, [x, y, height]) => sum + height * WAVES[x][column] * WAVES[y][row], mean);

// The fields are packed without gaps, least significant bit first.
function readerOf(bytes) {
  let at = 0;
  return (bits) => {
    let value = 0;
    for (let bit = 0; bit < bits; bit++, at++) value |= ((bytes[at >> 3] >> (at & 7)) & 1) << bit;
    return value;
  };
}
