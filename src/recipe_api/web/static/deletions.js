// Deletions that can be undone: the service hears of them seconds later, or when the page is left.

import { deleteRecipe } from "./api.js";
import { copyOf, element } from "./markup.js";

const UNDO_MS = 6000;
const waiting = new Set();

addEventListener("pagehide", () => waiting.forEach((deletion) => deletion.commit({ keepalive: true })));

/** An offer to undo. `onEnd` is told whether it had the focus, then one of `onUndone`, `onDone` and `onFailed`. */
export class Deletion {
  #timer;

  constructor(recipe, told) {
    this.recipe = recipe;
    this.told = told;
    this.toast = copyOf("toast");
    const [text, button] = this.toast.children;
    text.textContent = `Deleted “${recipe.label}”.`;
    button.onclick = () => {
      if (this.#end()) told.onUndone();
    };
    this.toast.onkeydown = ({ key }) => {
      if (key === "Escape") this.commit();
    };
    for (const event of ["pointerenter", "pointerleave", "focusin", "focusout"]) {
      this.toast.addEventListener(event, () => this.#wait());
    }
    element("toasts").append(this.toast);
    waiting.add(this);
    this.#wait();
  }

  focus() {
    this.toast.lastElementChild.focus();
  }

  async commit({ keepalive = false } = {}) {
    if (!this.#end()) return;
    try {
      await deleteRecipe(this.recipe.id, { keepalive });
      this.told.onDone();
    } catch (problem) {
      if (problem.status === 404) this.told.onDone();
      else this.told.onFailed(problem);
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
