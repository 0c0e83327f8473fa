// The uploads that are chosen, waiting and under way; a few go at once.

import { element } from "./markup.js";
import { Upload } from "./upload.js";

const AT_ONCE = 2; // more would only share the same line
const warn = (event) => event.preventDefault();

export class Queue {
  #uploads = [];

  /** `onStored` is told each recipe, with its manage token; `onIdle` that the focus has no place here. */
  constructor({ onStored, onIdle }) {
    this.onStored = onStored;
    this.onIdle = onIdle;
    element("upload-all").onclick = () => this.#go(this.#uploads);
  }

  /** Takes photos in; each waits until its label is typed. */
  add(files) {
    const onGo = (upload) => this.#go([upload]);
    const onLeave = (upload) => (upload.isUnderWay ? this.#cancel(upload) : this.#remove(upload));
    const uploads = [...files].map((file) => new Upload(file, { onGo, onLeave }));
    this.#uploads.push(...uploads);
    element("queue").append(...uploads.map(({ row }) => row));
    this.#refresh();
    uploads[0]?.input.focus();
    uploads[0]?.input.select();
  }

  #go(uploads) {
    const ready = uploads.filter(({ isReady }) => isReady);
    if (!ready.every(({ form }) => form.reportValidity())) return;
    ready.forEach((upload) => upload.show("waiting", "Waiting for its turn"));
    this.#next();
    ready[0]?.input.focus(); // and not "Cancel": some tap twice
  }

  #next() {
    const going = this.#uploads.filter(({ isGoing }) => isGoing).length;
    const due = this.#uploads.filter(({ state, isGoing }) => state === "waiting" && !isGoing);
    due.slice(0, Math.max(AT_ONCE - going, 0)).forEach((upload) => this.#send(upload));
    this.#refresh();
  }

  async #send(upload) {
    upload.isGoing = true;
    try {
      const recipe = await upload.send();
      const { hasFocus } = upload;
      this.onStored(recipe);
      upload.show("stored", "Stored");
      if (hasFocus) this.#focusOther(upload);
    } catch (error) {
      if (error.name !== "AbortError" && upload.isUnderWay) upload.fail(error);
    }
    upload.isGoing = false;
    this.#next();
  }

  #cancel(upload) {
    upload.cancel();
    this.#next();
  }

  #remove(upload) {
    this.#focusOther(upload);
    this.#uploads.splice(this.#uploads.indexOf(upload), 1);
    upload.forget();
    this.#refresh();
  }

  #focusOther(upload) {
    const others = this.#uploads.filter((other) => other !== upload && other.state !== "stored");
    if (others.length) others[0].focus();
    else this.onIdle();
  }

  // Rows that are done stay while others are not, so that no button moves from under a finger.
  #refresh() {
    if (this.#uploads.every(({ state }) => state === "stored")) this.#uploads.splice(0).forEach((upload) => upload.forget());
    element("uploads").hidden = !this.#uploads.length;
    element("upload-all").hidden = this.#uploads.filter(({ isReady }) => isReady).length < 2;
    const isBusy = this.#uploads.some(({ isUnderWay }) => isUnderWay);
    (isBusy ? addEventListener : removeEventListener)("beforeunload", warn);
  }
}
