// Numbers for people: sizes, times, and how fast an upload goes.

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"];

/** `3.2 MB` */
export function size(bytes) {
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  const options = { style: "unit", unit: UNITS[power], unitDisplay: power ? "short" : "long", maximumFractionDigits: 1 };
  return new Intl.NumberFormat("en", options).format(bytes / 1000 ** power);
}

/** `25 Nov 2026` */
export const day = (time) => new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" }).format(new Date(time));

const left = (seconds) => (seconds < 60 ? `${Math.ceil(seconds)} s left` : `${Math.ceil(seconds / 60)} min left`);

const SAMPLE_MS = 400; // between two looks, or the figures flicker
const WEIGHT = 0.3; // of the newest sample

/** How fast bytes go, smoothed. */
export class Pace {
  #bytes = 0;
  #since = performance.now();
  #perSecond = null;

  /** What to say of so many bytes of so many; null while there is nothing new to say. */
  at(loaded, total) {
    const now = performance.now();
    if (now - this.#since < SAMPLE_MS) return null;
    const sample = ((loaded - this.#bytes) * 1000) / (now - this.#since);
    this.#perSecond = this.#perSecond === null ? sample : WEIGHT * sample + (1 - WEIGHT) * this.#perSecond;
    this.#bytes = loaded;
    this.#since = now;
    const sent = `${size(loaded)} of ${size(total)}`;
    if (this.#perSecond < 1) return sent;
    return `${sent} · ${size(this.#perSecond)}/s · ${left((total - loaded) / this.#perSecond)}`;
  }
}
