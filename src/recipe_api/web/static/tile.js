// One recipe of the gallery: its photo, and what can be done with it.

import { renameRecipe } from "./api.js";
import { day } from "./figures.js";
import { announce, copyOf, frame } from "./markup.js";
import { tokenFor } from "./tokens.js";

const COPIED_MS = 2000;

export class Tile {
  /** `onDelete` is told whether the keyboard asked for it. */
  constructor(recipe, onDelete) {
    this.recipe = recipe;
    this.row = copyOf("tile");
    [this.photo, this.caption, this.form] = this.row.children;
    [this.copyButton, this.renameButton, this.deleteButton] = this.caption.querySelectorAll("button");
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
      this.#rename();
    };
    this.#label();
    frame(this.photo, recipe.location, recipe.content_type.split("/")[1]);
    this.refresh();
  }

  /** Offers what this browser may do by now. */
  refresh() {
    this.renameButton.hidden = this.deleteButton.hidden = !tokenFor(this.recipe.id);
  }

  /** Says what went wrong with this recipe. */
  complain(sentence) {
    this.row.querySelector(".problem").textContent = sentence;
  }

  #label() {
    const { label } = this.recipe;
    this.row.querySelector("h3").textContent = label;
    this.photo.firstElementChild.alt = label;
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
      prompt("The address of the photo:", location);
      return;
    }
    announce("The address is copied.");
    const icon = this.copyButton.querySelector("use");
    icon.setAttribute("href", "#i-copied");
    setTimeout(() => icon.setAttribute("href", "#i-copy"), COPIED_MS);
  }

  #turn({ isRenaming }) {
    this.complain("");
    this.form.hidden = !isRenaming;
    this.caption.hidden = isRenaming;
    this.input.value = this.recipe.label;
    (isRenaming ? this.input : this.renameButton).focus();
    this.input.select();
  }

  async #rename() {
    const label = this.input.value;
    try {
      this.recipe = await renameRecipe(this.recipe.id, label);
    } catch (problem) {
      return this.complain(problem.sentence);
    }
    this.#label();
    this.#turn({ isRenaming: false });
    announce(`Renamed to ${label}.`);
  }
}
