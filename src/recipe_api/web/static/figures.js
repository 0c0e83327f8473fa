// Numbers for people: sizes, days, and how fast an upload goes.

/** `3.2 MB` */
export function size(bytes) {
  const [unit, scale] = bytes < 1e6 ? ["kilobyte", 1e3] : ["megabyte", 1e6];
  return (bytes / scale).toLocaleString("en", { style: "unit", unit, maximumFractionDigits: 1 });
}

/** `25 Nov 2026` */
export const day = (time) => new Date(time).toLocaleDateString("en-GB", { dateStyle: "medium" });

const WEIGHT = 0.3; // of the newest sample

/** How fast bytes go, smoothed; to be asked at a steady pace. */
export class Pace {
  #bytes = 0;
  #since = performance.now();
  #perMs;

  /** What to say when so many bytes are sent of those in all. */
  at(loaded, total) {
    const now = performance.now();
    const sample = (loaded - this.#bytes) / (now - this.#since);
    this.#perMs = WEIGHT * sample + (1 - WEIGHT) * (this.#perMs ?? sample);
    [this.#bytes, this.#since] = [loaded, now];
    const sent = `${size(loaded)} of ${size(total)}`;
    if (this.#perMs < 1) return sent; // too slow to tell the time
    const seconds = (total - loaded) / this.#perMs / 1000;
    const left = seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} min`;
    return `${sent} · ${size(this.#perMs * 1000)}/s · ${left} left`;
  }
}
