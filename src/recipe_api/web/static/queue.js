// The uploads that are waiting or in progress; a few run at a time.

import { admit, anotherToken, isAdmitted } from "./access.js";
import { overall } from "./figures.js";
import { announce, element, rest } from "./markup.js";
import { apiToken } from "./tokens.js";
import { Upload } from "./upload.js";

const AT_ONCE = 2; // more would share the same bandwidth
const PAUSED = "This service requires an API token. Try again to enter one.";

const section = element("uploads");
const title = element("uploads-title");
const uploadAll = element("upload-all");
const cancelAll = element("cancel-all");
const warn = (event) => event.preventDefault();

export class Queue {
  #uploads = [];
  #admission = null; // the pending request for a token, or its refusal

  /**
   * Calls `onStored` with each recipe, its manage token and its preview, and `onEmpty` when it is empty and had the focus.
   */
  constructor({ onStored, onEmpty }) {
    this.onStored = onStored;
    this.onEmpty = onEmpty;
    uploadAll.onclick = () => this.#go(this.#uploads);
    cancelAll.onclick = () => this.#cancel(this.#uploads.filter(({ isUnderWay }) => isUnderWay));
    document.addEventListener("token", () => this.#resume());
  }

  /** Adds photos; each waits until its label is confirmed. */
  add(files) {
    const onGo = (upload) => this.#go([upload]);
    const onLeave = (upload) => (upload.isUnderWay ? this.#cancel([upload]) : this.#remove(upload));
    const onProgress = () => this.#count();
    const added = [...files].map((file) => {
      const upload = new Upload(file, { name: this.#nameFor(file), onGo, onLeave, onProgress });
      this.#uploads.push(upload);
      return upload;
    });
    element("queue").append(...added.map(({ row }) => row));
    this.#refresh();
    this.#begin(added);
  }

  // Pasted photos all have the same name.
  #nameFor({ name }) {
    const taken = this.#uploads.filter(({ file }) => file.name === name).map((upload) => upload.name);
    let unique = name;
    for (let number = 2; taken.includes(unique); number++) unique = `${name} (${number})`;
    return unique;
  }

  #begin(added) {
    const refused = added.filter(({ isReady }) => !isReady);
    const [first] = added.filter(({ isReady }) => isReady);
    first?.input.focus();
    first?.input.select();
    if (!first) refused[0]?.form.focus();
    if (refused.length) announce(`${refused.length} of ${added.length} files cannot be uploaded.`);
  }

  // An invalid label stops only its own photo.
  #go(uploads) {
    const ready = uploads.filter(({ isReady }) => isReady);
    const faulty = ready.filter(({ label }) => !label.check());
    ready.filter((upload) => !faulty.includes(upload)).forEach((upload) => upload.wait());
    this.#admission = null;
    this.#next();
    faulty[0]?.input.focus();
  }

  #next() {
    this.#refresh();
    const going = this.#uploads.filter(({ isGoing }) => isGoing).length;
    const due = this.#waiting().slice(0, Math.max(AT_ONCE - going, 0));
    if (!due.length || this.#admission) return;
    if (isAdmitted()) due.forEach((upload) => this.#send(upload));
    else this.#hold(admit);
  }

  #waiting() {
    return this.#uploads.filter(({ state, isGoing }) => state === "waiting" && !isGoing);
  }

  async #send(upload) {
    const token = apiToken.get();
    upload.isGoing = true;
    try {
      this.onStored(await upload.send(token), upload.takePreview());
      upload.show("stored", "Stored");
    } catch (error) {
      if (error.status === 401) this.#onRefusedToken(upload, error, token);
      else if (error.name !== "AbortError" && upload.isUnderWay) upload.fail(error);
    }
    upload.isGoing = false;
    this.#next();
  }

  #onRefusedToken(upload, problem, token) {
    if (!upload.isUnderWay) return; // it was cancelled
    upload.wait();
    this.#hold(() => anotherToken(problem, token));
  }

  // Nothing else is sent meanwhile. The page asks once; after a refusal it asks again when somebody presses a button.
  async #hold(admission) {
    this.#admission ??= admission();
    if (await this.#admission) this.#resume();
    else this.#pause();
  }

  #resume() {
    this.#admission = null;
    this.#uploads.filter(({ state }) => state === "paused").forEach((upload) => upload.wait());
    this.#next();
  }

  #pause() {
    this.#waiting().forEach((upload) => upload.show("paused", PAUSED));
    announce(PAUSED);
    this.#refresh();
  }

  #cancel(uploads) {
    uploads.forEach((upload) => upload.cancel());
    this.#next();
  }

  #remove(upload) {
    const at = this.#uploads.indexOf(upload);
    const { hasFocus } = upload;
    this.#uploads.splice(at, 1);
    const neighbour = this.#uploads[at] ?? this.#uploads[at - 1];
    if (hasFocus && neighbour) neighbour.form.focus();
    this.#refresh([upload]);
  }

  // Stored rows stay until all are stored, so that no button moves while somebody is about to press it.
  #refresh(gone = []) {
    const done = this.#uploads.every(({ state }) => state === "stored") ? this.#uploads.splice(0) : [];
    this.#drop([...gone, ...done]);
    this.#offer(uploadAll, this.#uploads.filter(({ isReady }) => isReady).length > 1);
    this.#offer(cancelAll, this.#uploads.filter(({ isUnderWay }) => isUnderWay).length > 1);
    this.#count();
    (this.#isBusy ? addEventListener : removeEventListener)("beforeunload", warn);
  }

  get #isBusy() {
    return this.#uploads.some(({ isUnderWay }) => isUnderWay);
  }

  #offer(button, isOffered) {
    const hadFocus = document.activeElement === button;
    button.hidden = !isOffered;
    if (hadFocus && !isOffered) rest(title);
  }

  // What has failed or been cancelled does not count: its row says what to do.
  #count() {
    const counted = this.#uploads.filter(({ isUnderWay, state }) => isUnderWay || state === "stored");
    element("overall").textContent = this.#isBusy && counted.length > 1 ? overall(counted) : "";
  }

  #drop(uploads) {
    const hadFocus = section.contains(document.activeElement);
    uploads.forEach((upload) => upload.forget());
    section.hidden = !this.#uploads.length;
    if (hadFocus && section.hidden) this.onEmpty();
  }
}
