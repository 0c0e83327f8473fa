// The uploads that are chosen, waiting and under way; a few go at once, the rest in their order.

import { announce } from "./markup.js";
import { Upload } from "./upload.js";

const AT_ONCE = 2; // more would only share the same line

export class Queue {
  #uploads = [];
  #section = document.getElementById("uploads");
  #list = document.getElementById("queue");
  #all = document.getElementById("upload-all");

  /** `onStored` is told each recipe, with its manage token; `onEmpty` that a row with the focus has gone, and no other is left. */
  constructor({ access, onStored, onEmpty }) {
    this.access = access;
    this.onStored = onStored;
    this.onEmpty = onEmpty;
    this.#all.addEventListener("click", () => this.#go(this.#uploads));
  }

  /** Takes photos in; each waits for its label. */
  add(files) {
    const uploads = files.map((file) => new Upload(file, this.#handlers()));
    this.#uploads.push(...uploads);
    this.#list.append(...uploads.map((upload) => upload.row));
    this.#refresh();
    uploads[0]?.focusLabel();
    if (uploads.length > 1) announce(`${uploads.length} photos are ready to be uploaded.`);
  }

  #handlers() {
    return {
      access: this.access,
      onGo: (upload) => this.#go([upload]),
      onLeave: (upload) => (upload.isUnderWay ? this.#cancel(upload) : this.#remove(upload)),
    };
  }

  #go(uploads) {
    const ready = uploads.filter((upload) => upload.isReady);
    if (!ready.every((upload) => upload.checkLabel())) return;
    ready.forEach((upload) => upload.show("waiting", "Waiting for its turn"));
    this.#next();
    ready[0]?.focus();
  }

  #next() {
    const going = this.#uploads.filter((upload) => upload.isGoing).length;
    const due = this.#uploads.filter((upload) => upload.state === "waiting" && !upload.isGoing);
    for (const upload of due.slice(0, Math.max(AT_ONCE - going, 0))) this.#send(upload);
    this.#refresh();
  }

  async #send(upload) {
    upload.isGoing = true;
    try {
      const recipe = await upload.send();
      const hadFocus = upload.hasFocus;
      upload.show("stored", "Stored");
      this.onStored(recipe);
      if (hadFocus) this.#focusBeside(upload);
    } catch (error) {
      if (error.name !== "AbortError") upload.fail(error);
    } finally {
      upload.isGoing = false;
    }
    this.#next();
  }

  #cancel(upload) {
    upload.cancel();
    this.#next();
  }

  #remove(upload) {
    this.#focusBeside(upload);
    this.#uploads.splice(this.#uploads.indexOf(upload), 1);
    upload.forget();
    this.#refresh();
  }

  #focusBeside(upload) {
    const at = this.#uploads.indexOf(upload);
    const others = [...this.#uploads.slice(at + 1), ...this.#uploads.slice(0, at).reverse()];
    const next = others.find((other) => other.state !== "stored");
    if (next) next.focus();
    else this.onEmpty();
  }

  // Rows that are done stay while others are not: whoever is about to press a button finds it where it was.
  #refresh() {
    if (this.#uploads.every((upload) => upload.state === "stored")) {
      this.#uploads.splice(0).forEach((upload) => upload.forget());
    }
    this.#section.hidden = this.#uploads.length === 0;
    this.#all.hidden = this.#uploads.filter((upload) => upload.isReady).length < 2;
    const isBusy = this.#uploads.some((upload) => upload.isUnderWay);
    if (isBusy) window.addEventListener("beforeunload", warn);
    else window.removeEventListener("beforeunload", warn);
  }
}

const warn = (event) => event.preventDefault();
