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
  #reason = ""; // why it failed
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

  /** Shows what was stored, in its place; a repeated upload brings what is there. */
  add(recipe) {
    if (this.#tiles.has(recipe.id)) return;
    const older = [...this.#list.children].find(({ dataset }) => dataset.time < recipe.created_at);
    this.#list.insertBefore(this.#tile(recipe).row, older ?? null);
    this.#say();
  }

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
    tile.row.dataset.time = recipe.created_at;
    this.#tiles.set(recipe.id, tile);
    return tile;
  }

  // The tile hides where it stands: a deletion may be undone, or fail.
  #delete(tile, byKeyboard) {
    this.#show(tile, false);
    const deletion = new Deletion(tile.recipe, {
      onEnd: (hadFocus) => hadFocus && this.#focusNear(tile),
      onUndone: () => this.#show(tile, true).deleteButton.focus(),
      onDone: () => this.#forget(tile),
      onFailed: (error) => this.#show(tile, true).complain(sentenceOf(error)),
    });
    if (byKeyboard) deletion.focus();
    else this.#focusNear(tile);
  }

  #focusNear(tile) {
    const photos = [...this.#list.querySelectorAll("a")];
    const at = photos.indexOf(tile.photo);
    const near = [...photos.slice(at), ...photos.slice(0, at).reverse(), element("photo")];
    near.find((photo) => photo.checkVisibility()).focus();
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

  #offer(label, reason = "") {
    this.#more.textContent = label;
    this.#more.hidden = !label;
    this.#reason = reason;
    this.#say();
  }

  #say(sentence = this.#reason) {
    const isEmpty = !this.#next && !this.#list.querySelector("li:not([hidden])");
    element("gallery-state").textContent = isEmpty ? "Nothing here yet. Add the first photo." : sentence;
  }
}
