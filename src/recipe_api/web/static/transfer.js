// One attempt to upload, by XMLHttpRequest: fetch does not tell how much has been sent.

import { problemOf, unanswered } from "./problems.js";

/** An idempotency key. `randomUUID` is there on https and localhost alone. */
export function newKey() {
  return crypto.randomUUID?.() ?? crypto.getRandomValues(new Uint8Array(16)).join("-");
}

/** Sends the form, and answers with the recipe; with the same `key`, never a second one. */
export async function transfer({ file, label, key, token, signal, onProgress, onSent }) {
  const form = new FormData();
  form.append("label", label); // before the photo, so that the service can refuse it early
  form.append("photo", file);

  const request = new XMLHttpRequest();
  request.open("POST", "/recipe");
  request.setRequestHeader("Idempotency-Key", key);
  if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
  request.upload.onprogress = onProgress;
  request.upload.onload = onSent;
  request.send(form);
  await new Promise((resolve, reject) => {
    request.onload = resolve;
    request.onerror = async () => reject(unanswered((await isReadable(file)) ? "connection-lost" : "photo-gone"));
    signal.onabort = () => {
      request.abort();
      reject(signal.reason);
    };
  });

  const { status, responseText: text } = request;
  if (status === 201) return JSON.parse(text);
  throw problemOf(status, text, request.getResponseHeader("Retry-After"));
}

// A folder is not, nor a file that was changed since.
const isReadable = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);
