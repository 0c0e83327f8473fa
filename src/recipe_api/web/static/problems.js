// Errors of the API, which are problem documents (RFC 9457), as sentences that say what to do.

const TOO_LARGE = "The photo is too large. Choose a smaller one.";
const AWAY = "The service cannot do this just now, and has kept nothing.";

// By the last part of a problem's `type`. What is not here says in its own `detail` what to do.
const SENTENCES = {
  "connection-lost": "The connection broke before an answer came. Try again: what did arrive is not stored twice.",
  "body-stalled": "The connection was too slow. Try again where it is better.",
  "token-wanted": "This service asks for an API token. Enter yours.",
  "token-unknown": "This API token is not known here. Check it, and enter it again.",
  "token-refused": "The token kept here does not fit. The photo cannot be changed from this browser.",
  "recipe-not-found": "This photo is not there any more. Load the page again.",
  "idempotency-key-in-use": "The first try is still going on. Try again in a minute.",
  "photo-too-large": TOO_LARGE,
  "body-too-large": TOO_LARGE,
  "unsupported-photo": "This file is no photo of a kind that is taken here. Choose another one.",
  "text-too-large": "The label is too long. Shorten it.",
  "service-full": "Many uploads are going on.",
  "service-stopping": "The service is being restarted.",
  "storage-unavailable": AWAY,
  "database-unavailable": AWAY,
};

export class Problem extends Error {
  /** From a problem document and, where there is one, `Retry-After`. */
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

  /** What to do about it. */
  get sentence() {
    const said = SENTENCES[this.code] ?? this.message;
    return this.status === 503 ? `${said} Try again in ${this.retryAfter ?? "some"} seconds.` : said;
  }
}

/** The problem of an answer; one that a proxy gives may be no document. */
export function problemOf(status, text, retryAfter) {
  try {
    return new Problem(JSON.parse(text), retryAfter);
  } catch {
    const detail = `The service answered with status ${status}. Try again in a moment.`;
    return new Problem({ type: "http-error", status, detail });
  }
}

/** What to do about any error. */
export const sentenceOf = (error) => error.sentence ?? `The page is at fault: ${error}. Load it again.`;

/** The problem of a request that got no answer. */
export const connectionLost = () => new Problem({ type: "connection-lost", status: 0 });
