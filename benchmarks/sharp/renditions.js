// Makes renditions of the photo on standard input, as a service in Node would: `node renditions.js each|cascade SIZE…`.
//
// `each` makes every size from the photo, as sharp's documentation shows; `cascade` makes the largest from the photo and
// the others from its pixels. Settings are those of recipe_api: WebP of quality 80 with little effort, upright, in sRGB.
import sharp from "sharp";

const [mode, ...sizes] = process.argv.slice(2);
const webp = { quality: 80, effort: 2 };
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
let source = [Buffer.concat(chunks)];
chunks.length = 0;

const within = (size) => [Number(size), Number(size), { fit: "inside", withoutEnlargement: true }];
if (mode === "cascade") {
  const pixels = sharp(...source).autoOrient().resize(...within(Math.max(...sizes))).raw();
  const { data, info } = await pixels.toBuffer({ resolveWithObject: true });
  source = [data, { raw: info }];
}
let bytes = 0;
for (const size of sizes) {
  bytes += (await sharp(...source).autoOrient().resize(...within(size)).webp(webp).toBuffer()).length;
}
console.log(bytes);
