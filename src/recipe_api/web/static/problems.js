// Errors of the API, which are problem documents (RFC 9457), as sentences that say what to do.

import { size } from "./figures.js";
import { acceptedTypes, maxPhotoBytes } from "./limits.js";

const TOO_LARGE = `The photo is too large. The limit is ${size(maxPhotoBytes)}. Choose a smaller one.`;

// By the last part of a problem's `type`. Any other problem says in its own `detail` what to do.
const SENTENCES = {
  "connection-lost": "The connection was lost. Try again.",
  "photo-gone": "This file has changed or cannot be read. Choose it again.",
  "body-stalled": "The connection was too slow. Try again on a faster one.",
  "token-wanted": "This service requires an API token. Enter yours.",
  "token-unknown": "The service does not know this API token. Check it and enter it again.",
  "token-refused": "This photo cannot be changed from this browser.",
  "recipe-not-found": "This photo no longer exists. Reload the page.",
  "idempotency-key-in-use": "The first attempt is still in progress. Try again in a minute.",
  "photo-too-large": TOO_LARGE,
  "body-too-large": TOO_LARGE,
  "unsupported-photo": `This file is not a photo of a type that the service accepts: ${acceptedTypes}. Choose another one.`,
  "photo-malformed": "This photo is damaged or unusual, so what the camera saved in it cannot be removed. Save it again with an image editor.",
  "text-too-large": "The label is too long. Shorten it.",
  "service-full": "The service is busy with other uploads.",
};

export class Problem extends Error {
  constructor({ type, status, title, detail = title }, retryAfter) {
    super(detail);
    this.code = type.split("/").at(-1);
    this.status = status;
    this.retryAfter = Number(retryAfter) || null;
  }

  /** Returns whether the photo itself is invalid, so that a retry is pointless. */
  get isFinal() {
    return /photo|body-too/.test(this.code);
  }

  /** Returns whether the request certainly had no effect. After a server error it may have had one. */
  get isRefusal() {
    return this.status >= 400 && this.status < 500;
  }

  get sentence() {
    const known = SENTENCES[this.code];
    if (this.status < 500) return known ?? this.message;
    const when = this.retryAfter > 1 ? `${this.retryAfter} seconds` : "a moment";
    return `${known ?? "The service cannot do this right now."} Try again in ${when}.`;
  }
}

/** Returns the problem of a response; a proxy may have sent one that is not a problem document. */
export function problemOf(status, text, retryAfter) {
  try {
    return new Problem(JSON.parse(text), retryAfter);
  } catch {
    const type = status === 413 ? "photo-too-large" : "http-error";
    return new Problem({ type, status, detail: `The service responded with status ${status}.` }, retryAfter);
  }
}

/** Returns the problem of a request that got no response: `connection-lost` or `photo-gone`. */
export const noResponse = (type) => new Problem({ type, status: 0 });

/** Returns a sentence for any error. */
export const sentenceOf = (error) => error.sentence ?? `Something went wrong on this page: ${error}. Reload the page.`;
