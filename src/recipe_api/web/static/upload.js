// One photo, from its choice until it is stored: a row of the queue.

import { anotherToken } from "./access.js";
import { Pace, size } from "./figures.js";
import { announce, copyOf, frame, maxBytes } from "./markup.js";
import { sentenceOf } from "./problems.js";
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
const PATIENCE = [2, 4, 8, 16]; // seconds to wait for an earlier try with the same key

export class Upload {
  isGoing = false; // one of those sent at once
  #key;
  #keyLabel;
  #stop;

  /** `onGo` and `onLeave` are told of its two buttons. */
  constructor(file, { onGo, onLeave }) {
    this.file = file;
    this.row = copyOf("upload");
    this.form = this.row.firstElementChild;
    this.input = this.form.elements.label;
    [this.go, this.leave] = this.form.querySelectorAll("button");
    this.form.setAttribute("aria-label", file.name);
    this.input.value = file.name.replace(/\.[^.]*$/, "").replace(/[-_\s]+/g, " ").trim();
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

  /** Sends it, as often as that takes; answers with the recipe. */
  async send() {
    const label = this.input.value;
    if (label !== this.#keyLabel) this.#key = newKey(); // another label makes it another upload
    this.#keyLabel = label;
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const patience = [...PATIENCE];
    for (;;) {
      const token = apiToken.get();
      try {
        return await this.#attempt({ label, token, signal });
      } catch (error) {
        const isToGoOn = error.status === 401 ? this.#otherToken(error, token) : this.#pause(error, patience);
        if (!(await isToGoOn)) throw error;
        signal.throwIfAborted();
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
    const sentence = sentenceOf(error);
    this.show(error.isFinal ? "refused" : "failed", sentence);
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

  #otherToken(error, token) {
    this.show("waiting", error.sentence);
    return anotherToken(error, token);
  }

  async #pause(error, patience) {
    const seconds = error.code === "idempotency-key-in-use" && patience.shift();
    if (!seconds) return false;
    this.show("waiting", `The first try is still going on; asking again in ${error.retryAfter ?? seconds} seconds.`);
    await new Promise((resolve) => {
      setTimeout(resolve, (error.retryAfter ?? seconds) * 1000);
      this.#stop.signal.onabort = resolve;
    });
    return true;
  }
}

// Told here: a browser reads an early refusal only when it has sent the whole photo.
function faultOf(file) {
  if (!file.size) return "This file is empty. Choose another one.";
  if (file.size <= maxBytes) return "";
  return `This photo has ${size(file.size)}; up to ${size(maxBytes)} are taken. Choose a smaller one.`;
}
