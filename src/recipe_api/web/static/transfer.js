// One attempt to upload, by XMLHttpRequest: fetch does not tell how much has been sent.

import { connectionLost, problemOf } from "./problems.js";

/** An idempotency key. `randomUUID` is there on https and localhost alone. */
export function newKey() {
  return crypto.randomUUID?.() ?? crypto.getRandomValues(new Uint8Array(16)).join("-");
}

/**
 * Sends the form and answers with the recipe; with the same `key`, never a second one.
 *
 * `onProgress` is told the bytes sent and those in all, `onSent` that all are. Throws a Problem, or `signal`'s reason.
 */
export function transfer({ file, label, key, token, signal, onProgress, onSent }) {
  const form = new FormData();
  form.append("label", label); // before the photo, so that the service can refuse it early
  form.append("photo", file);

  const request = new XMLHttpRequest();
  request.open("POST", "/recipe");
  request.setRequestHeader("Idempotency-Key", key);
  if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
  request.upload.onprogress = ({ loaded, total }) => onProgress(loaded, total);
  request.upload.onload = onSent;
  request.send(form);

  return new Promise((resolve, reject) => {
    request.onerror = () => reject(connectionLost());
    request.onload = () => {
      const { status, responseText: text } = request;
      if (status === 201) resolve(JSON.parse(text));
      else reject(problemOf(status, text, request.getResponseHeader("Retry-After")));
    };
    signal.addEventListener("abort", () => {
      request.abort();
      reject(signal.reason);
    });
  });
}
