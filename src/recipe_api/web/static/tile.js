// One recipe of the gallery: its photo, and what can be done with it.

import { renameRecipe } from "./api.js";
import { day } from "./figures.js";
import { announce, copyOf, frame } from "./markup.js";
import { sentenceOf } from "./problems.js";
import { tokenFor } from "./tokens.js";

const COPIED_MS = 2000;

export class Tile {
  /** `onDelete` is told whether the keyboard asked for it. */
  constructor(recipe, onDelete) {
    this.recipe = recipe;
    this.row = copyOf("tile");
    [this.photo, this.caption, this.form] = this.row.children;
    [this.copyButton, this.renameButton, this.deleteButton] = this.caption.querySelectorAll("button");
    this.copyIcon = this.copyButton.firstChild;
    this.image = this.photo.firstElementChild;
    this.input = this.form.elements.label;
    this.photo.href = recipe.location;
    this.row.querySelector(".meta").textContent = day(recipe.created_at);
    this.copyButton.onclick = () => this.#copy();
    this.renameButton.onclick = () => this.#turn({ isRenaming: true });
    this.deleteButton.onclick = ({ detail: clicks }) => onDelete(!clicks);
    this.form.onreset = () => this.#turn({ isRenaming: false });
    this.form.onkeydown = ({ key }) => {
      if (key === "Escape") this.form.reset();
    };
    this.form.onsubmit = (event) => {
      event.preventDefault();
      if (!this.input.readOnly) this.#rename();
    };
    this.#label();
    frame(this.photo, recipe.location, recipe.content_type.split("/")[1]);
    this.refresh();
  }

  /** Offers what this browser may do by now. */
  refresh() {
    this.renameButton.hidden = this.deleteButton.hidden = !tokenFor(this.recipe.id);
  }

  complain(sentence) {
    this.row.querySelector(".problem").textContent = sentence;
  }

  #label() {
    const { label } = this.recipe;
    this.row.querySelector("h3").textContent = label;
    this.image.alt = label;
    this.photo.ariaLabel = label;
    for (const button of this.caption.querySelectorAll("button")) {
      button.ariaLabel = `${button.title}: ${label}`;
    }
  }

  // The clipboard is there on https and localhost alone.
  async #copy() {
    const { location } = this.recipe;
    try {
      await navigator.clipboard.writeText(location);
    } catch {
      return prompt("The address of the photo:", location);
    }
    announce("The address is copied.");
    this.copyButton.replaceChildren("✓");
    setTimeout(() => this.copyButton.replaceChildren(this.copyIcon), COPIED_MS);
  }

  #turn({ isRenaming }) {
    const hadFocus = this.row.contains(document.activeElement);
    this.complain("");
    this.form.hidden = !isRenaming;
    this.caption.hidden = isRenaming;
    this.input.readOnly = false;
    if (isRenaming) {
      this.input.value = this.recipe.label;
      this.input.focus();
      this.input.select();
    } else if (hadFocus) this.renameButton.focus();
  }

  async #rename() {
    const label = this.input.value;
    this.input.readOnly = true;
    try {
      this.recipe = await renameRecipe(this.recipe.id, label);
      this.#label();
      announce(`Renamed to ${label}.`);
      // Who gave up waiting may be typing again.
      if (this.input.readOnly) this.#turn({ isRenaming: false });
    } catch (error) {
      this.input.readOnly = false;
      this.complain(sentenceOf(error));
    }
  }
}
