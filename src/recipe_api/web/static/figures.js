// Numbers for people: sizes, days, and the progress of an upload.

const ROUNDS_TO_MEGABYTE = 999_950; // it would read "1,000 kB"

/** `11 bytes`, `340 kB` or `3.2 MB`. */
export function size(bytes) {
  if (bytes < 1000) return quantity(bytes, "byte", { unitDisplay: "long" });
  if (bytes < ROUNDS_TO_MEGABYTE) return quantity(bytes / 1e3, "kilobyte");
  return quantity(bytes / 1e6, "megabyte");
}

/** A size that is over a limit, and the limit: in bytes where they would read the same. */
export function sizes(bytes, limit) {
  const texts = [bytes, limit].map(size);
  return texts[0] === texts[1] ? [bytes, limit].map((exact) => quantity(exact, "byte", { unitDisplay: "long" })) : texts;
}

/** `25 Nov 2026` */
export const day = (time) => new Date(time).toLocaleDateString("en-GB", { dateStyle: "medium" });

/** `3 of 24 · 40 %`: how many uploads are complete, and how much of them all has been sent. */
export function overall(uploads) {
  const [sent, total] = uploads.reduce(([some, all], { sent, file }) => [some + sent, all + file.size], [0, 0]);
  const stored = uploads.filter(({ state }) => state === "stored").length;
  return `${stored} of ${uploads.length} · ${Math.floor((100 * sent) / total)} %`;
}

const quantity = (number, unit, options) =>
  number.toLocaleString("en", { style: "unit", unit, maximumFractionDigits: 1, ...options });

const WEIGHT = 0.3; // of the newest sample

/** The smoothed speed of an upload; ask for it at regular intervals. */
export class Pace {
  #bytes = 0;
  #since = performance.now();
  #perMs;

  /** Returns a line such as `3.2 MB of 14 MB · 1.1 MB/s · 10 s left`. */
  at(loaded, total) {
    const now = performance.now();
    const sample = (loaded - this.#bytes) / (now - this.#since);
    this.#perMs = WEIGHT * sample + (1 - WEIGHT) * (this.#perMs ?? sample);
    [this.#bytes, this.#since] = [loaded, now];
    const sent = `${size(loaded)} of ${size(total)}`;
    if (this.#perMs < 1) return sent; // too slow to estimate the time
    const seconds = (total - loaded) / this.#perMs / 1000;
    const left = seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
    return `${sent} · ${size(this.#perMs * 1000)}/s · ${left} left`;
  }
}
