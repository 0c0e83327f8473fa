// One recipe of the gallery: its photo, and what can be done with it.

import { renameRecipe } from "./api.js";
import { day } from "./figures.js";
import { ratioOf, show } from "./frames.js";
import { LabelField } from "./labels.js";
import { announce, copyOf, rest } from "./markup.js";
import { sentenceOf } from "./problems.js";
import { tokenFor } from "./tokens.js";

const COPIED_MS = 2000;

export class Tile {
  /** `preview` is the address of the photo's local file, if it was uploaded from this page. */
  constructor(recipe, { preview, isEarly, onOpen, onDelete }) {
    this.preview = preview;
    this.row = copyOf("tile");
    [this.photo, this.caption, this.form] = this.row.children;
    this.heading = this.row.querySelector("h3");
    this.link = this.heading.firstElementChild;
    [this.copyButton, this.renameButton, this.deleteButton] = this.caption.querySelectorAll("button");
    this.copyIcon = this.copyButton.firstChild;
    this.input = this.form.elements.label;
    this.complaint = this.row.querySelector(".problem");
    this.label = new LabelField(this.input, this.complaint);
    this.link.href = recipe.location;
    this.link.onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return; // for another tab or window
      event.preventDefault();
      onOpen();
    };
    this.row.querySelector(".meta").textContent = day(recipe.created_at);
    this.copyButton.onclick = () => this.#copy();
    this.renameButton.onclick = () => this.#turn({ isRenaming: true });
    this.deleteButton.onclick = onDelete;
    this.form.onreset = () => this.#turn({ isRenaming: false });
    this.form.onkeydown = ({ key }) => {
      if (key === "Escape") this.form.reset();
    };
    this.form.onsubmit = (event) => {
      event.preventDefault();
      if (!this.input.readOnly) this.#rename();
    };
    if (recipe.width) this.row.style.setProperty("--ratio", ratioOf(recipe));
    if (isEarly) Object.assign(this.photo.firstElementChild, { loading: "eager", fetchPriority: "high" });
    show(this.photo, recipe, { preview });
    this.refresh(recipe);
  }

  /** Shows the recipe's label, and the buttons that this browser may use now. */
  refresh(recipe = this.recipe) {
    const { id, label } = (this.recipe = recipe);
    this.link.textContent = label;
    for (const button of this.caption.querySelectorAll("button")) button.ariaLabel = `${button.title}: ${label}`;
    const [save, cancel] = this.form.querySelectorAll("button");
    this.input.ariaLabel = `New label: ${label}`;
    save.ariaLabel = `Save: ${label}`;
    cancel.ariaLabel = `Cancel: ${label}`;
    const buttons = [this.renameButton, this.deleteButton];
    const hadFocus = buttons.includes(document.activeElement);
    buttons.forEach((button) => (button.hidden = !tokenFor(id)));
    if (hadFocus && this.renameButton.hidden) this.focus();
  }

  /** Moves the focus to the heading: nothing happens there when a key is pressed once too often. */
  focus() {
    rest(this.heading);
  }

  /** Moves the focus to the link to the photo, or to the form in its place. */
  focusPhoto() {
    (this.form.hidden ? this.link : this.input).focus();
  }

  /** Whether it is being deleted. */
  get isBusy() {
    return this.row.ariaBusy === "true";
  }

  set isBusy(isBusy) {
    this.row.ariaBusy = isBusy;
  }

  complain(sentence) {
    this.complaint.textContent = sentence;
  }

  // Browsers offer the clipboard on https and localhost only.
  async #copy() {
    const { location } = this.recipe;
    try {
      await navigator.clipboard.writeText(location);
    } catch {
      return prompt("The address of the photo:", location);
    }
    announce("The address has been copied.");
    this.copyButton.replaceChildren("✓");
    setTimeout(() => this.copyButton.replaceChildren(this.copyIcon), COPIED_MS);
  }

  #turn({ isRenaming, next = this.renameButton }) {
    const hadFocus = this.row.contains(document.activeElement);
    this.label.set(this.recipe.label);
    this.form.hidden = !isRenaming;
    this.caption.hidden = isRenaming;
    this.input.readOnly = false;
    if (isRenaming) {
      this.input.focus();
      this.input.select();
    } else if (hadFocus) rest(next.hidden ? this.heading : next);
  }

  async #rename() {
    if (!this.label.check()) return this.input.focus();
    const label = this.input.value;
    this.input.readOnly = true;
    try {
      this.refresh(await renameRecipe(this.recipe.id, label));
      announce(`Renamed to ${label}.`);
      // Somebody who stopped waiting may be typing again.
      if (this.input.readOnly) this.#turn({ isRenaming: false, next: this.heading });
    } catch (error) {
      this.input.readOnly = false;
      this.complain(sentenceOf(error));
    }
  }
}
