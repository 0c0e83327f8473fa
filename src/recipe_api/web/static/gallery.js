// All photos, newest first, loaded page by page while somebody scrolls.

import { withToken } from "./access.js";
import { deleteRecipe, FIRST_PAGE, listRecipes } from "./api.js";
import { confirmDeletion } from "./deletions.js";
import { announce, element, rest } from "./markup.js";
import { sentenceOf } from "./problems.js";
import { Tile } from "./tile.js";
import { manageToken } from "./tokens.js";
import { Viewer } from "./viewer.js";

const AHEAD = "800px"; // how far above its end the next page is requested
const EARLY = 8; // photos in the first rows, which are loaded before anything else

export class Gallery {
  #tiles = new Map();
  #next = FIRST_PAGE; // null after the last page
  #loading = null; // the request for the next page
  reason = ""; // why the last request failed
  #list = element("tiles");
  #more = element("more");
  #viewer = new Viewer(this);
  #nearEnd = new IntersectionObserver(([end]) => end.isIntersecting && this.load(), { rootMargin: AHEAD });

  constructor() {
    this.#more.onclick = ({ detail: clicks }) => this.load({ byKeyboard: !clicks });
  }

  /** Shows the next page; with `byKeyboard`, moves the focus to its first photo. */
  load(how) {
    this.#loading ??= this.#load(how).finally(() => (this.#loading = null));
    return this.#loading;
  }

  async #load({ byKeyboard = false } = {}) {
    this.#nearEnd.disconnect();
    if (!this.#tiles.size) this.#say("Loading …");
    try {
      const { items, next } = await withToken(() => listRecipes(this.#next));
      const tiles = items.filter(({ id }) => !this.#tiles.has(id)).map((recipe) => this.#tile(recipe));
      this.#list.append(...tiles.map(({ row }) => row));
      this.#next = next;
      this.#offer(next ? "Show more" : "");
      if (next) this.#nearEnd.observe(this.#more);
      if (byKeyboard) (tiles[0] ?? this).focus();
    } catch (error) {
      this.#offer("Try again", sentenceOf(error));
    }
  }

  /**
   * Shows a stored recipe in its place, with a preview that it revokes later.
   *
   * A repeated upload may return a recipe that is already in the gallery, with another label.
   */
  add(recipe, preview) {
    this.#tiles.get(recipe.id)?.refresh(recipe);
    if (this.#tiles.has(recipe.id)) return URL.revokeObjectURL(preview);
    const older = [...this.#list.children].find(({ dataset }) => dataset.time < recipe.created_at);
    this.#list.insertBefore(this.#tile(recipe, preview).row, older ?? null);
    this.#say();
  }

  /** Returns whether there is a photo before (-1) or after (1) this one, or may be on the next page. */
  hasBeside({ row }, step) {
    return Boolean(step < 0 ? row.previousElementSibling : row.nextElementSibling ?? this.#next);
  }

  /** Returns the tile before or after this one, if necessary from the next page. */
  async beside({ row }, step) {
    if (step > 0 && !row.nextElementSibling && this.#next) await this.load();
    const neighbour = step < 0 ? row.previousElementSibling : row.nextElementSibling;
    return [...this.#tiles.values()].find((tile) => tile.row === neighbour);
  }

  /** Moves the focus to the heading. */
  focus() {
    rest(element("gallery-title"));
  }

  refresh() {
    this.#tiles.forEach((tile) => tile.refresh());
  }

  #tile(recipe, preview) {
    const tile = new Tile(recipe, {
      preview,
      isEarly: this.#tiles.size < EARLY,
      onOpen: () => this.#viewer.open(tile),
      onDelete: () => this.#delete(tile),
    });
    tile.row.dataset.time = recipe.created_at;
    this.#tiles.set(recipe.id, tile);
    return tile;
  }

  // The tile stays until the service has confirmed that the recipe is gone.
  async #delete(tile) {
    if (tile.isBusy || !(await confirmDeletion(tile.recipe.label))) return;
    tile.isBusy = true;
    tile.complain("");
    try {
      await deleteRecipe(tile.recipe.id);
      this.#forget(tile);
    } catch (error) {
      if (error.status === 404) this.#forget(tile);
      else tile.complain(sentenceOf(error));
    }
    tile.isBusy = false;
  }

  #forget({ recipe, row, preview }) {
    if (row.contains(document.activeElement)) this.#focusNear(row);
    URL.revokeObjectURL(preview);
    manageToken(recipe.id).drop();
    this.#tiles.delete(recipe.id);
    row.remove();
    this.#say();
    announce(`${recipe.label} has been deleted.`);
  }

  #focusNear(row) {
    const near = [row.nextElementSibling, row.previousElementSibling].map((tile) => tile?.querySelector("h3"));
    rest(near.find((heading) => heading?.checkVisibility()) ?? element("gallery-title"));
  }

  #offer(label, reason = "") {
    this.#more.textContent = label;
    this.#more.hidden = !label;
    this.reason = reason;
    this.#say();
  }

  #say(sentence = this.reason) {
    const isEmpty = !this.#next && !this.#tiles.size;
    element("gallery-state").textContent = isEmpty ? "Nothing here yet. Add the first photo." : sentence;
  }
}
