// One recipe of the gallery: its photo, and what can be done with it.

import { renameRecipe } from "./api.js";
import { day, size } from "./figures.js";
import { announce, copyOf, frame, labelFault } from "./markup.js";
import { tokenFor } from "./tokens.js";

const COPIED_MS = 2000;

export class Tile {
  /** `onDelete` is told when its button is pressed, and whether by the keyboard. */
  constructor(recipe, { onDelete }) {
    this.recipe = recipe;
    this.row = copyOf("tile");
    this.renaming = this.#find(".renaming");
    const kind = recipe.content_type.split("/").at(-1).toUpperCase();
    this.#find(".photo").href = recipe.location;
    this.#find(".meta").textContent = `${day(recipe.created_at)} · ${size(recipe.size)}`;
    frame(this.#find(".photo"), { source: recipe.location, kind });

    this.#find(".copy").addEventListener("click", () => this.#copy());
    this.#find(".rename").addEventListener("click", () => this.#beginRenaming());
    this.#find(".delete").addEventListener("click", ({ detail }) => onDelete(this, { byKeyboard: detail === 0 }));
    this.#find(".cancel").addEventListener("click", () => this.#endRenaming());
    this.renaming.addEventListener("keydown", ({ key }) => key === "Escape" && this.#endRenaming());
    this.renaming.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#rename();
    });
    this.#label();
    this.refresh();
  }

  /** Offers what this browser may do by now. */
  refresh() {
    const isOurs = tokenFor(this.recipe.id) !== null;
    this.#find(".rename").hidden = this.#find(".delete").hidden = !isOurs;
  }

  focus() {
    this.#find(".photo").focus();
  }

  /** Says what went wrong with this recipe. */
  complain(sentence) {
    this.#find(".problem").textContent = sentence;
  }

  #find(selector) {
    return this.row.querySelector(selector);
  }

  #label() {
    const { label } = this.recipe;
    this.#find("h3").textContent = label;
    this.#find("img").alt = label;
    this.#find(".photo").setAttribute("aria-label", label);
    for (const [name, does] of [["copy", "Copy the address of"], ["rename", "Rename"], ["delete", "Delete"]]) {
      const button = this.#find(`.${name}`);
      button.title = does.replace(" of", "");
      button.setAttribute("aria-label", `${does} ${label}`);
    }
  }

  async #copy() {
    if (!(await copied(this.recipe.location))) return;
    announce("The address is copied.");
    const icon = this.#find(".copy use");
    icon.setAttribute("href", "#i-copied");
    setTimeout(() => icon.setAttribute("href", "#i-copy"), COPIED_MS);
  }

  #beginRenaming() {
    this.complain("");
    this.renaming.elements.label.value = this.recipe.label;
    this.#turn({ toRenaming: true });
    this.renaming.elements.label.select();
  }

  #endRenaming() {
    this.complain("");
    this.#turn({ toRenaming: false });
    this.#find(".rename").focus();
  }

  #turn({ toRenaming }) {
    this.renaming.hidden = !toRenaming;
    this.#find(".caption").hidden = toRenaming;
    this.renaming.elements.label.focus();
  }

  async #rename() {
    const label = this.renaming.elements.label.value;
    const fault = labelFault(label);
    if (fault) return this.complain(fault);
    try {
      this.recipe = await renameRecipe(this.recipe.id, label);
    } catch (problem) {
      return this.complain(problem.sentence);
    }
    this.#label();
    this.#endRenaming();
    announce(`Renamed to ${label}.`);
  }
}

// The clipboard is there on https and localhost alone; elsewhere the address is shown to be copied by hand.
async function copied(address) {
  try {
    await navigator.clipboard.writeText(address);
    return true;
  } catch {
    window.prompt("The photo’s address:", address);
    return false;
  }
}
