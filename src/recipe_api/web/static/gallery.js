// What is there, newest first: page after page, as far as somebody scrolls.

import { listRecipes } from "./api.js";
import { Problem } from "./problems.js";
import { Tile } from "./tile.js";
import { apiToken, dropManageToken } from "./tokens.js";

const AHEAD = "800px"; // how far before its end the next page is asked for

export class Gallery {
  #list = document.getElementById("tiles");
  #state = document.getElementById("gallery-state");
  #more = document.getElementById("more");
  #tiles = new Map();
  #next = undefined; // the address of the next page; null after the last
  #isLoading = false;
  #nearEnd = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && this.load(), { rootMargin: AHEAD });

  constructor({ access, deletions }) {
    this.access = access;
    this.deletions = deletions;
    this.#more.addEventListener("click", ({ detail }) => this.load({ byKeyboard: detail === 0 }));
  }

  /** Shows one more page; at first, the newest. Whoever asked `byKeyboard` goes on at its first photo. */
  async load({ byKeyboard = false } = {}) {
    if (this.#isLoading) return;
    this.#isLoading = true;
    this.#nearEnd.disconnect();
    if (!this.#tiles.size) this.#say("Loading …");
    try {
      const { items, next } = await this.#page();
      this.#next = next;
      const tiles = items.filter(({ id }) => !this.#tiles.has(id)).map((recipe) => this.#tile(recipe));
      this.#list.append(...tiles.map((tile) => tile.row));
      this.#sayIfEmpty();
      this.#offer(next && "Show more");
      if (byKeyboard) tiles[0]?.focus();
      if (next) this.#nearEnd.observe(this.#more);
    } catch (error) {
      this.#say(error instanceof Problem ? error.sentence : String(error));
      this.#offer("Try again");
    } finally {
      this.#isLoading = false;
    }
  }

  /** Shows what was just uploaded before all others; what a repeated upload brings may be there. */
  add(recipe) {
    if (this.#tiles.has(recipe.id)) return;
    this.#list.prepend(this.#tile(recipe).row);
    this.#sayIfEmpty();
  }

  /** Offers in each tile what this browser may do by now. */
  refresh() {
    this.#tiles.forEach((tile) => tile.refresh());
  }

  focusFirst() {
    this.#shown()[0]?.focus();
  }

  async #page() {
    for (;;) {
      const token = apiToken();
      try {
        return await listRecipes(this.#next);
      } catch (error) {
        if (error.status !== 401 || !(await this.access.ask(error, { refused: token }))) throw error;
      }
    }
  }

  #tile(recipe) {
    const tile = new Tile(recipe, { onDelete: (...how) => this.#delete(...how) });
    this.#tiles.set(recipe.id, tile);
    return tile;
  }

  // The tile hides where it stands, so that it is there again when the deletion is undone or fails.
  #delete(tile, { byKeyboard }) {
    const neighbour = this.#neighbourOf(tile);
    tile.complain("");
    tile.row.hidden = true;
    this.#sayIfEmpty();
    if (!byKeyboard) neighbour?.focus();
    this.deletions.add(tile.recipe, {
      byKeyboard,
      onEnd: ({ hadFocus }) => hadFocus && neighbour?.focus(),
      onUndone: () => this.#putBack(tile),
      onDone: () => this.#forget(tile),
      onFailed: (problem) => this.#putBack(tile, problem),
    });
  }

  #putBack(tile, problem) {
    if (problem?.status === 403) dropManageToken(tile.recipe.id);
    tile.row.hidden = false;
    tile.refresh();
    this.#sayIfEmpty();
    if (problem) tile.complain(problem.sentence);
    else tile.focus();
  }

  #forget(tile) {
    dropManageToken(tile.recipe.id);
    this.#tiles.delete(tile.recipe.id);
    tile.row.remove();
  }

  #shown() {
    const tiles = [...this.#tiles.values()].filter((tile) => !tile.row.hidden);
    return tiles.sort((one, other) => (one.row.compareDocumentPosition(other.row) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1));
  }

  #neighbourOf(tile) {
    const tiles = this.#shown();
    const at = tiles.indexOf(tile);
    return tiles[at + 1] ?? tiles[at - 1];
  }

  #offer(label) {
    this.#more.hidden = !label;
    this.#more.textContent = label ?? "";
  }

  #say(sentence) {
    this.#state.textContent = sentence;
  }

  #sayIfEmpty() {
    this.#say(this.#shown().length || this.#next ? "" : "Nothing here yet. The first photo is yours to add.");
  }
}
