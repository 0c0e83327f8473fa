// Deletions that can still be undone. Each waits some seconds before the service hears of it; what waits when the page
// is left is sent then.

import { deleteRecipe } from "./api.js";
import { copyOf } from "./markup.js";

const UNDO_MS = 6000;

export class Deletions {
  #list = document.getElementById("toasts");
  #waiting = new Set();

  constructor() {
    window.addEventListener("pagehide", () => this.#waiting.forEach((deletion) => deletion.commit({ keepalive: true })));
  }

  /**
   * Deletes a recipe unless that is undone.
   *
   * `onEnd` is told that the offer has ended and whether it had the focus; then one of `onUndone`, `onDone` and, with the
   * problem, `onFailed`. Whoever came `byKeyboard` finds the focus on the offer, whose time stands still meanwhile.
   */
  add(recipe, { byKeyboard, onEnd, ...told }) {
    const deletion = new Deletion(recipe, {
      ...told,
      onEnd: (how) => {
        this.#waiting.delete(deletion);
        onEnd(how);
      },
    });
    this.#waiting.add(deletion);
    this.#list.append(deletion.toast);
    if (byKeyboard) deletion.toast.querySelector("button").focus();
  }
}

class Deletion {
  #timer = null;
  #ended = false;

  constructor(recipe, told) {
    this.recipe = recipe;
    this.told = told;
    this.toast = copyOf("toast");
    this.toast.querySelector("span").textContent = `Deleted “${recipe.label}”.`;
    this.toast.querySelector("button").addEventListener("click", () => this.undo());
    // Nobody should have to hurry: while the pointer or the keyboard is on it, it stays.
    for (const event of ["pointerenter", "pointerleave", "focusin", "focusout"]) {
      this.toast.addEventListener(event, () => this.#wait());
    }
    this.toast.addEventListener("keydown", ({ key }) => key === "Escape" && this.commit());
    this.#wait();
  }

  undo() {
    this.#end();
    this.told.onUndone();
  }

  async commit(options) {
    this.#end();
    try {
      await deleteRecipe(this.recipe.id, options);
      this.told.onDone();
    } catch (problem) {
      if (problem.status === 404) this.told.onDone();
      else this.told.onFailed(problem);
    }
  }

  #wait() {
    clearTimeout(this.#timer);
    if (this.#ended || this.toast.matches(":hover, :focus-within")) return;
    this.#timer = setTimeout(() => this.commit(), UNDO_MS);
  }

  #end() {
    clearTimeout(this.#timer);
    this.#ended = true;
    this.told.onEnd({ hadFocus: this.toast.contains(document.activeElement) });
    this.toast.remove();
  }
}
