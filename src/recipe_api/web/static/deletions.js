// Deletions that can be undone: they are sent seconds later, or when the page is left.

import { deleteRecipe } from "./api.js";
import { copyOf, element } from "./markup.js";

const UNDO_MS = 6000;
const waiting = new Set();

addEventListener("pagehide", () => waiting.forEach((deletion) => deletion.commit({ keepalive: true })));

/** An offer to undo. `onEnd` is told whether it had the focus, then one of `onUndone`, `onDone` and `onFailed`. */
export class Deletion {
  #timer;

  constructor({ id, label }, told) {
    this.id = id;
    this.told = told;
    this.toast = copyOf("toast");
    this.toast.querySelector("bdi").textContent = label;
    this.toast.querySelector("button").onclick = () => {
      if (this.#end()) told.onUndone();
    };
    this.toast.onkeydown = ({ key }) => {
      if (key === "Escape") this.commit();
    };
    for (const event of ["pointerenter", "pointerleave", "focusin", "focusout"]) {
      this.toast.addEventListener(event, () => this.#wait());
    }
    element("toasts").prepend(this.toast);
    waiting.add(this);
    this.#wait();
  }

  focus() {
    this.toast.lastElementChild.focus();
  }

  async commit({ keepalive = false } = {}) {
    if (!this.#end()) return;
    try {
      await deleteRecipe(this.id, { keepalive });
      this.told.onDone();
    } catch (error) {
      if (error.status === 404) this.told.onDone();
      else this.told.onFailed(error);
    }
  }

  // Nobody is hurried: with the pointer or the focus on it, the offer stays.
  #wait() {
    clearTimeout(this.#timer);
    if (!this.toast.matches(":hover, :focus-within")) this.#timer = setTimeout(() => this.commit(), UNDO_MS);
  }

  #end() {
    if (!waiting.delete(this)) return false;
    const hadFocus = this.toast.contains(document.activeElement);
    this.toast.remove();
    clearTimeout(this.#timer);
    this.told.onEnd(hadFocus);
    return true;
  }
}
