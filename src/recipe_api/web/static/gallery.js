// What is there, newest first: page after page, as far as somebody scrolls.

import { anotherToken } from "./access.js";
import { FIRST_PAGE, listRecipes } from "./api.js";
import { Deletion } from "./deletions.js";
import { element } from "./markup.js";
import { sentenceOf } from "./problems.js";
import { Tile } from "./tile.js";
import { apiToken, manageToken } from "./tokens.js";

const AHEAD = "800px"; // how far before its end the next page is asked for

export class Gallery {
  #tiles = new Map();
  #next = FIRST_PAGE; // null after the last page
  #isLoading = false;
  #list = element("tiles");
  #more = element("more");
  #nearEnd = new IntersectionObserver(([end]) => end.isIntersecting && this.load(), { rootMargin: AHEAD });

  constructor() {
    this.#more.onclick = ({ detail: clicks }) => this.load({ byKeyboard: !clicks });
  }

  /** Shows the next page; asked for `byKeyboard`, with the focus on its first photo. */
  async load({ byKeyboard = false } = {}) {
    if (this.#isLoading) return;
    this.#isLoading = true;
    this.#nearEnd.disconnect();
    if (!this.#tiles.size) this.#say("Loading …");
    try {
      const { items, next } = await this.#page();
      const tiles = items.filter(({ id }) => !this.#tiles.has(id)).map((recipe) => this.#tile(recipe));
      this.#list.append(...tiles.map(({ row }) => row));
      this.#next = next;
      this.#offer(next ? "Show more" : "");
      if (next) this.#nearEnd.observe(this.#more);
      if (byKeyboard) tiles[0]?.photo.focus();
    } catch (error) {
      this.#offer("Try again", sentenceOf(error));
    }
    this.#isLoading = false;
  }

  /** Shows what was just stored, unless a repeated upload brought what is there. */
  add(recipe) {
    if (!this.#tiles.has(recipe.id)) this.#list.prepend(this.#tile(recipe).row);
    this.#say();
  }

  /** Offers in each tile what this browser may do by now. */
  refresh() {
    this.#tiles.forEach((tile) => tile.refresh());
  }

  async #page() {
    for (;;) {
      const token = apiToken.get();
      try {
        return await listRecipes(this.#next);
      } catch (error) {
        if (error.status !== 401 || !(await anotherToken(error, token))) throw error;
      }
    }
  }

  #tile(recipe) {
    const tile = new Tile(recipe, (byKeyboard) => this.#delete(tile, byKeyboard));
    this.#tiles.set(recipe.id, tile);
    return tile;
  }

  // The tile hides where it stands: a deletion may be undone, or fail.
  #delete(tile, byKeyboard) {
    const shown = [...this.#list.querySelectorAll("li:not([hidden]) > a")];
    const at = shown.indexOf(tile.photo);
    const neighbour = shown[at + 1] ?? shown[at - 1] ?? element("photo");
    this.#show(tile, false);
    const deletion = new Deletion(tile.recipe, {
      onEnd: (hadFocus) => hadFocus && neighbour.focus(),
      onUndone: () => this.#show(tile, true).deleteButton.focus(),
      onDone: () => this.#forget(tile),
      onFailed: (problem) => this.#show(tile, true).complain(problem.sentence),
    });
    (byKeyboard ? deletion : neighbour).focus();
  }

  #show(tile, isShown) {
    tile.row.hidden = !isShown;
    tile.complain("");
    this.#say();
    return tile;
  }

  #forget({ recipe, row }) {
    manageToken(recipe.id).drop();
    this.#tiles.delete(recipe.id);
    row.remove();
  }

  #offer(label, sentence) {
    this.#more.textContent = label;
    this.#more.hidden = !label;
    this.#say(sentence);
  }

  #say(sentence) {
    const isEmpty = !this.#next && !this.#list.querySelector("li:not([hidden])");
    element("gallery-state").textContent = sentence ?? (isEmpty ? "Nothing here yet. Add the first photo." : "");
  }
}
