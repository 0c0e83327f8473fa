// One photo on its way: a row of the queue, from the choice of the file until it is stored.

import { anotherToken } from "./access.js";
import { Pace, size } from "./figures.js";
import { announce, copyOf, frame, labelFault, limits } from "./markup.js";
import { Problem } from "./problems.js";
import { apiToken } from "./tokens.js";
import { newKey, transfer } from "./transfer.js";

// What the two buttons of a row do in each state.
const BUTTONS = {
  draft: ["Upload", "Remove"],
  failed: ["Try again", "Remove"],
  refused: ["", "Remove"],
  waiting: ["", "Cancel"],
  sending: ["", "Cancel"],
  storing: ["", "Cancel"],
  stored: ["", ""],
};
const TICK_MS = 500;
const PATIENCE = [2, 4, 8, 16]; // seconds between tries while an earlier one with the same key is still going on

export class Upload {
  isGoing = false; // it is one of those that are sent at once
  #key;
  #keyLabel;
  #stop;

  /** `onGo` and `onLeave` are told for what the row's buttons are pressed. */
  constructor(file, { onGo, onLeave }) {
    this.file = file;
    this.row = copyOf("upload");
    this.form = this.row.firstElementChild;
    this.input = this.form.elements.label;
    [this.go, this.leave] = this.form.querySelectorAll("button");
    this.form.setAttribute("aria-label", file.name);
    this.input.value = file.name.replace(/\.[^.]*$/, "").replace(/[-_\s]+/g, " ").trim();
    this.input.oninput = () => this.input.setCustomValidity("");
    this.form.onsubmit = (event) => {
      event.preventDefault();
      onGo(this);
    };
    this.leave.onclick = () => onLeave(this);
    frame(this.form.querySelector(".photo"), URL.createObjectURL(file), file.name.split(".").at(-1));
    const fault = faultOf(file);
    this.show(fault ? "refused" : "draft", fault || size(file.size));
  }

  get isReady() {
    return this.state === "draft" || this.state === "failed";
  }

  get isUnderWay() {
    return this.leave.textContent === "Cancel";
  }

  get hasFocus() {
    return this.row.contains(document.activeElement);
  }

  /** Whether its label will do; the field says why not. */
  isLabelled() {
    this.input.setCustomValidity(labelFault(this.input.value));
    return this.input.reportValidity();
  }

  /** Sends it, as often as that takes; answers with the recipe. */
  async send() {
    const label = this.input.value;
    if (label !== this.#keyLabel) this.#key = newKey(); // another label makes it another upload
    this.#keyLabel = label;
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    for (let attempt = 0; ; attempt++) {
      const token = apiToken.get();
      try {
        return await this.#attempt({ label, token, signal });
      } catch (error) {
        const again = await this.#mayGoOn(error, { attempt, token, signal });
        signal.throwIfAborted();
        if (!again) throw error;
      }
    }
  }

  cancel() {
    // What was sent to its end may be stored; sent again, it makes no second recipe.
    const said = this.state === "storing" ? "Cancelled, maybe too late. Upload it again to be sure." : "Cancelled.";
    this.#stop?.abort();
    this.show("draft", said);
    this.focus();
  }

  fail(error) {
    const { hasFocus } = this;
    const sentence = error instanceof Problem ? error.sentence : `The page is at fault: ${error}. Load it again.`;
    this.show("failed", sentence);
    if (hasFocus) this.focus();
    announce(`${this.input.value}: ${sentence}`);
  }

  show(state, sentence) {
    this.state = state;
    this.form.className = `upload ${state}`;
    this.input.readOnly = !this.isReady;
    [this.go, this.leave].forEach((button, at) => {
      button.textContent = BUTTONS[state][at];
      button.hidden = !button.textContent;
    });
    this.#say(sentence);
  }

  focus() {
    (this.go.hidden ? this.leave : this.go).focus();
  }

  forget() {
    URL.revokeObjectURL(this.form.querySelector("img").src);
    this.row.remove();
  }

  #say(sentence) {
    this.form.querySelector(".state").textContent = sentence;
  }

  async #attempt(what) {
    const bar = this.form.querySelector("progress");
    const pace = new Pace();
    let sent = [0, this.file.size];
    this.show("sending", "Starting …");
    const ticks = setInterval(() => this.state === "sending" && this.#say(pace.at(...sent)), TICK_MS);
    const onProgress = (...numbers) => {
      sent = numbers;
      bar.value = sent[0] / sent[1];
    };
    bar.value = 0;
    try {
      const onSent = () => this.show("storing", "Storing …");
      return await transfer({ ...what, file: this.file, key: this.#key, onProgress, onSent });
    } finally {
      clearInterval(ticks);
    }
  }

  async #mayGoOn(error, { attempt, token, signal }) {
    if (error.status === 401) {
      this.show("waiting", error.sentence);
      return anotherToken(error, token);
    }
    if (error.code !== "idempotency-key-in-use" || attempt >= PATIENCE.length) return false;
    const seconds = error.retryAfter ?? PATIENCE[attempt];
    this.show("waiting", `The first try is still going on; asking again in ${seconds} seconds.`);
    await new Promise((resolve) => {
      setTimeout(resolve, seconds * 1000);
      signal.onabort = resolve;
    });
    return true;
  }
}

// Told here, since a browser reads an early refusal only when it has sent the whole photo.
function faultOf(file) {
  const most = Number(limits.maxPhotoBytes);
  if (!file.size) return "This file is empty. Choose another one.";
  if (file.size > most) return `This photo has ${size(file.size)}; up to ${size(most)} are taken. Choose a smaller one.`;
  return "";
}
