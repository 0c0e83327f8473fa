// Uploads that resume after a lost connection: the bytes by tus 1.0 (https://tus.io), then one request for the recipe.
// Loaded only for large photos.

import { RECIPES } from "./api.js";
import { noResponse, problemOf } from "./problems.js";
import { unfinishedUpload } from "./tokens.js";
import { isReadable, responseOf, transfer } from "./transfer.js";

const UPLOADS = new URL("../uploads", import.meta.url).href;
const TUS = { "Tus-Resumable": "1.0.0" };
const DELAYS = [1, 2, 4, 8, 15, 30, 30, 30]; // seconds between attempts, as long as no byte arrives
const TRANSIENT = [0, 408, 409, 423, 502, 503, 504]; // 0: no response
const GONE = [404, 410];

const owners = new Map(); // the file that each remembered upload belongs to, on this page

/**
 * Uploads a photo, resuming whenever the connection is lost, and returns the recipe.
 *
 * `onWait` shows that the upload was interrupted, and resolves when it is time to resume. If this client has too many
 * unfinished uploads, the photo is sent as a form, which cannot be resumed.
 */
export async function resume({ onWait, ...what }) {
  const upload = new Resumable(what);
  for (let failures = 0; ; failures++) {
    const { offset } = upload;
    try {
      return await upload.attempt();
    } catch (error) {
      what.signal.throwIfAborted();
      if (error.code === "too-many-unfinished-uploads") return transfer(what);
      if (error.code === "too-many-pieces") upload.memory.drop(); // it cannot go on; the next attempt starts over
      if (upload.offset > offset || !navigator.onLine) failures = 0;
      if (!TRANSIENT.includes(error.status) || error.code === "photo-gone" || failures >= DELAYS.length) throw error;
      await onWait(Math.max(DELAYS[failures], error.retryAfter ?? 0));
    }
  }
}

/** Deletes what has arrived of a photo, even if the page is closed meanwhile. */
export function discard(file) {
  const memory = memoryOf(file);
  const url = memory.get();
  memory.drop();
  if (url) fetch(url, { method: "DELETE", headers: TUS, keepalive: true }).catch(() => {}); // otherwise it expires
}

class Resumable {
  offset = 0; // how many bytes have arrived
  #isSent = false;

  constructor({ file, label, token, signal, onProgress, onUncertain, onSent }) {
    Object.assign(this, { file, label, token, signal, onProgress, onUncertain, onSent });
    this.memory = memoryOf(file);
  }

  async attempt() {
    if (!this.#isSent) {
      const known = await this.#find();
      if (known) return known;
      while (this.offset < this.file.size) await this.#append();
      this.#isSent = true;
    }
    this.onSent();
    return this.#complete();
  }

  // Returns the recipe if an earlier attempt made it and its response was lost.
  async #find() {
    if (this.memory.get()) {
      const response = await this.#fetch(this.memory.get(), { method: "HEAD", headers: TUS });
      if (response.ok) return this.#report(response);
      if (!GONE.includes(response.status)) throw await problemIn(response);
      try {
        return await this.#complete();
      } catch (error) {
        if (!GONE.includes(error.status)) throw error;
      }
    }
    return this.#begin();
  }

  async #begin() {
    const headers = { ...TUS, "Upload-Length": this.file.size, "Upload-Metadata": `filename ${base64(this.file.name)}` };
    const response = await this.#fetch(UPLOADS, { method: "POST", headers: authorized(headers, this.token) });
    if (!response.ok) throw await problemIn(response);
    this.memory.set(new URL(response.headers.get("Location"), UPLOADS).href);
    this.offset = 0;
  }

  #report(response) {
    this.offset = Number(response.headers.get("Upload-Offset"));
    this.onProgress({ loaded: this.offset, total: this.file.size });
  }

  async #append() {
    const request = new XMLHttpRequest();
    request.open("PATCH", this.memory.get());
    const headers = { ...TUS, "Upload-Offset": this.offset, "Content-Type": "application/offset+octet-stream" };
    for (const name in headers) request.setRequestHeader(name, headers[name]);
    request.upload.onprogress = ({ loaded }) =>
      this.onProgress({ loaded: this.offset + loaded, total: this.file.size });
    const { status, responseText: text } = await responseOf(request, this.file.slice(this.offset), this);
    if (status !== 204) throw problemOf(status, text, request.getResponseHeader("Retry-After"));
    this.offset = Number(request.getResponseHeader("Upload-Offset"));
  }

  async #complete() {
    this.onUncertain();
    const { label } = this;
    const recipe = await this.#send("POST", RECIPES, { upload: this.memory.get().split("/").at(-1), label }, this.token);
    // If an attempt before a reload created the recipe, it has the label of that attempt.
    if (recipe.label !== label) await this.#send("PATCH", `${RECIPES}/${recipe.id}`, { label }, recipe.manage_token);
    this.memory.drop();
    return { ...recipe, label };
  }

  async #send(method, url, content, token) {
    const headers = authorized({ "Content-Type": "application/json" }, token);
    const response = await this.#fetch(url, { method, headers, body: JSON.stringify(content) });
    if (response.ok) return response.json();
    const problem = await problemIn(response);
    if (problem.isFinal) this.memory.drop(); // a rejected photo has been deleted
    throw problem;
  }

  async #fetch(url, options) {
    try {
      return await fetch(url, { ...options, signal: this.signal, cache: "no-store" });
    } catch (error) {
      this.signal.throwIfAborted();
      throw noResponse((await isReadable(this.file)) ? "connection-lost" : "photo-gone");
    }
  }
}

// If the same photo is chosen twice, only the first of the two can resume after a reload.
function memoryOf(file) {
  const name = `${file.name}.${file.size}.${file.lastModified}`;
  if (!owners.has(name)) owners.set(name, file);
  return owners.get(name) === file ? unfinishedUpload(file) : privateMemoryOf(file);
}

const privateMemories = new WeakMap();

function privateMemoryOf(file) {
  if (!privateMemories.has(file)) {
    let url;
    privateMemories.set(file, { get: () => url, set: (value) => (url = value), drop: () => (url = undefined) });
  }
  return privateMemories.get(file);
}

const problemIn = async (response) =>
  problemOf(response.status, await response.text(), response.headers.get("Retry-After"));

const authorized = (headers, token) => (token ? { ...headers, Authorization: `Bearer ${token}` } : headers);

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
