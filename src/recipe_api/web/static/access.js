// Asks for an API token where the service wants one; however many requests want it, once.

import { keepApiToken, apiToken } from "./tokens.js";

export class Access {
  #dialog = document.getElementById("access");
  #input = this.#dialog.querySelector("input");
  #asking = null;

  /** `onChange` is told when another token is there. */
  constructor({ onChange }) {
    this.onChange = onChange;
  }

  /** Whether there is another token than the one that was refused, after asking if need be. */
  ask(problem, { refused }) {
    if (apiToken() !== refused) return Promise.resolve(true);
    this.#asking ??= this.#ask(problem.sentence).finally(() => (this.#asking = null));
    return this.#asking;
  }

  #ask(reason) {
    document.getElementById("access-reason").textContent = reason;
    this.#input.value = "";
    this.#dialog.returnValue = "";
    this.#dialog.showModal();
    return new Promise((resolve) => this.#dialog.addEventListener("close", () => resolve(this.#taken()), { once: true }));
  }

  #taken() {
    if (this.#dialog.returnValue !== "use") return false;
    keepApiToken(this.#input.value);
    this.#input.value = "";
    this.onChange();
    return true;
  }
}
