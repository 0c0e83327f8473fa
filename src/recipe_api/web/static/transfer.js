// One attempt to upload, by XMLHttpRequest: fetch does not report how much has been sent.

import { RECIPES } from "./api.js";
import { problemOf, noResponse } from "./problems.js";

/** Returns an idempotency key. Browsers offer `randomUUID` on https and localhost only. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Sends the form and returns the recipe. The same `key` never creates a second one.
 *
 * After `onUncertain`, the recipe may exist unless the service rejects it: browsers send before they report progress.
 */
export async function transfer({ file, label, key, token, signal, onProgress, onUncertain, onSent }) {
  const form = new FormData();
  form.append("label", label); // before the photo, so that the service can reject it early
  form.append("photo", file);

  const request = new XMLHttpRequest();
  request.open("POST", RECIPES);
  request.setRequestHeader("Idempotency-Key", key);
  if (token) request.setRequestHeader("Authorization", `Bearer ${token}`);
  request.upload.onprogress = (event) => {
    onProgress(event);
    if (event.loaded === event.total) onSent(); // upload.onload waits for the response in Firefox
  };
  onUncertain();
  const { status, responseText: text } = await responseOf(request, form, { file, signal });
  if (status === 201) return JSON.parse(text);
  throw problemOf(status, text, request.getResponseHeader("Retry-After"));
}

/** Sends a request that reads `file`, and returns the request once the response has arrived. */
export async function responseOf(request, body, { file, signal }) {
  signal.throwIfAborted();
  request.send(body);
  await new Promise((resolve, reject) => {
    request.onload = resolve;
    // A browser may abort by itself, as window.stop() does.
    request.onerror = request.onabort = async () =>
      reject(noResponse((await isReadable(file)) ? "connection-lost" : "photo-gone"));
    signal.onabort = () => {
      reject(signal.reason);
      request.abort();
    };
  });
  return request;
}

// A folder is not readable, nor is a file that has changed since it was chosen.
export const isReadable = (file) => file.slice(0, 1).arrayBuffer().then(() => true, () => false);
