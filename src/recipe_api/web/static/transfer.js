// One attempt to upload, by XMLHttpRequest: fetch does not tell how much has been sent.

import { connectionLost, problemOf } from "./problems.js";

/** Random, and new for each upload; `randomUUID` is there on https and localhost alone. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Sends the form, and answers with the recipe. Sent again with the same `key`, it makes no second one.
 *
 * `onProgress` is told the bytes sent and those in all, `onSent` that all have been. Throws a Problem, or the signal's
 * AbortError.
 */
export function transfer({ file, label, key, token, signal, onProgress, onSent }) {
  const form = new FormData();
  form.append("label", label); // first, so that a fault of it is seen before the photo is sent
  form.append("photo", file);

  const request = new XMLHttpRequest();
  request.open("POST", "/recipe");
  request.setRequestHeader("Idempotency-Key", key);
  if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
  request.upload.addEventListener("progress", ({ loaded, total }) => onProgress(loaded, total));
  request.upload.addEventListener("load", onSent);

  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => {
      request.abort();
      reject(signal.reason);
    });
    request.addEventListener("error", () => reject(connectionLost()));
    request.addEventListener("load", () => {
      if (request.status === 201) resolve(JSON.parse(request.responseText));
      else reject(problemOf(answerOf(request)));
    });
    request.send(form);
  });
}

const answerOf = (request) => ({
  status: request.status,
  text: request.responseText,
  retryAfter: request.getResponseHeader("Retry-After"),
});
