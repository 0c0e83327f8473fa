// Errors of the API, which are problem documents (RFC 9457), as sentences that say what to do.

const LATER = ({ wait }) => `The service cannot do this just now, and has kept nothing. Try again ${wait}.`;

// By the last part of a problem's `type`. What is not here says in its own `detail` what to do.
const SENTENCES = {
  "connection-lost": () => "The connection broke before there was an answer. Try again; what did arrive is not stored twice.",
  "malformed-body": () => "The upload was cut short on its way. Try again.",
  "body-stalled": () => "The connection was too slow. Try again where it is better.",
  "token-wanted": () => "This service asks for an API token. Enter yours.",
  "token-unknown": () => "This API token is not known here. Check it, and enter it once more.",
  "token-refused": () => "This browser may not change this photo: its token is none of this service’s.",
  "recipe-not-found": () => "This photo is not there any more. Load the page again.",
  "idempotency-key-in-use": () => "The first try is still going on. Try again in a minute.",
  "idempotency-key-reused": () => "This upload was stored already with another label. Remove it, and choose the photo again.",
  "photo-too-large": () => "The photo is larger than this service takes. Choose a smaller one.",
  "body-too-large": () => "The photo is larger than this service takes. Choose a smaller one.",
  "text-too-large": () => "The label is too long. Shorten it.",
  "field-missing": ({ field }) => `The ${field} did not arrive. Choose the photo again.`,
  "field-empty": ({ field }) => (field === "photo" ? "The file is empty. Choose another one." : "The label is blank. Type one."),
  "invalid-text": () => "The label has characters that cannot be stored. Type it anew.",
  "service-full": ({ wait }) => `Many uploads are going on just now. Try again ${wait}.`,
  "service-stopping": ({ wait }) => `The service is being restarted. Try again ${wait}.`,
  "storage-unavailable": LATER,
  "database-unavailable": LATER,
  "internal-error": ({ id }) => `The service made a mistake. Try again; if that does not help, report it as ${id}.`,
};

export class Problem extends Error {
  /** A problem document, and the seconds of `Retry-After` if there were any. */
  constructor(document, { retryAfter } = {}) {
    super(document.detail);
    this.code = document.type.split("/").at(-1);
    this.status = document.status;
    this.retryAfter = Number(retryAfter) || null;
    this.document = document;
  }

  /** What to do about it. */
  get sentence() {
    const { field, request_id: id, title, detail } = this.document;
    const wait = this.retryAfter ? `in ${this.retryAfter} seconds` : "in a moment";
    return SENTENCES[this.code]?.({ field, id, wait }) ?? detail ?? title;
  }
}

/** The problem that an answer tells, which may come from a proxy before the service, as anything. */
export function problemOf({ status, text, retryAfter }) {
  try {
    const document = JSON.parse(text);
    if (document.type) return new Problem(document, { retryAfter });
  } catch {
    // It is no JSON: told below by its status.
  }
  const detail = `The service answered with status ${status}. Try again in a moment.`;
  return new Problem({ type: "/problems/http-error", status, detail }, { retryAfter });
}

/** The problem of a request that got no answer. */
export const connectionLost = () => new Problem({ type: "/problems/connection-lost", status: 0 });
