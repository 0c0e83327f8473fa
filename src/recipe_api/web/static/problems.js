// Errors of the API, which are problem documents (RFC 9457), as sentences that say what to do.

const TOO_LARGE = "The photo is too large. Choose a smaller one.";

// By the last part of a problem's `type`. What is not here says in its own `detail` what to do.
const SENTENCES = {
  "connection-lost": "The connection broke. Try again.",
  "photo-gone": "This file cannot be read, or was changed. Choose it again.",
  "body-stalled": "The connection was too slow. Try again where it is better.",
  "token-wanted": "This service asks for an API token. Enter yours.",
  "token-unknown": "This API token is not known here. Check it, and enter it again.",
  "token-refused": "This photo cannot be changed from this browser.",
  "recipe-not-found": "This photo is not there any more. Load the page again.",
  "idempotency-key-in-use": "The first try is still going on. Try again in a minute.",
  "photo-too-large": TOO_LARGE,
  "body-too-large": TOO_LARGE,
  "unsupported-photo": "This file is no photo of a kind that is taken here. Choose another one.",
  "text-too-large": "The label is too long. Shorten it.",
  "service-full": "Many uploads are going on.",
};

export class Problem extends Error {
  constructor({ type, status, title, detail = title }, retryAfter) {
    super(detail);
    this.code = type.split("/").at(-1);
    this.status = status;
    this.retryAfter = Number(retryAfter) || null;
  }

  /** Whether it is the photo's fault, so that trying again is of no use. */
  get isFinal() {
    return /photo|body-too/.test(this.code);
  }

  /** Whether it did nothing. Of no answer, or of one that tells of a fault, nobody knows. */
  get isRefusal() {
    return this.status >= 400 && this.status < 500;
  }

  get sentence() {
    const said = SENTENCES[this.code];
    if (this.status < 500) return said ?? this.message;
    const when = this.retryAfter > 1 ? `${this.retryAfter} seconds` : "a moment";
    return `${said ?? "The service cannot do this just now."} Try again in ${when}.`;
  }
}

/** The problem of an answer; one that a proxy gives may be no document. */
export function problemOf(status, text, retryAfter) {
  try {
    return new Problem(JSON.parse(text), retryAfter);
  } catch {
    const type = status === 413 ? "photo-too-large" : "http-error";
    return new Problem({ type, status, detail: `The service answered with status ${status}.` }, retryAfter);
  }
}

/** The problem of a request without an answer: `connection-lost` or `photo-gone`. */
export const unanswered = (type) => new Problem({ type, status: 0 });

/** What to do about any error. */
export const sentenceOf = (error) => error.sentence ?? `Something went wrong here: ${error}. Load the page again.`;
