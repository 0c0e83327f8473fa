// One photo, from its choice until it is stored: a row of the queue.

import { anotherToken } from "./access.js";
import { Pace, size } from "./figures.js";
import { announce, copyOf, frame, maxBytes } from "./markup.js";
import { sentenceOf } from "./problems.js";
import { apiToken } from "./tokens.js";
import { newKey, transfer } from "./transfer.js";

// What the two buttons of a row do in each state; in all others it is under way.
const BUTTONS = {
  draft: ["Upload", "Remove"],
  failed: ["Try again", "Remove"],
  refused: ["", "Remove"],
  stored: ["", ""],
};
const TICK_MS = 500;
const PATIENCE = [2, 4, 8, 16]; // seconds to wait at least for an earlier try with the same key

export class Upload {
  isGoing = false; // one of those sent at once
  #sent = {}; // label and key
  #isInDoubt = false; // a try may have worked, and its label stays
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
    const fault = faultOf(file);
    this.preview = fault ? "" : URL.createObjectURL(file);
    frame(this.form.querySelector(".photo"), this.preview, file.name.split(".").at(-1));
    this.show(fault ? "refused" : "draft", fault || size(file.size));
  }

  get isReady() {
    return !this.go.hidden;
  }

  get isUnderWay() {
    return !(this.state in BUTTONS);
  }

  get hasFocus() {
    return this.row.contains(document.activeElement);
  }

  /** Sends it, as often as that takes; answers with the recipe. */
  async send() {
    const label = this.input.value;
    if (label !== this.#sent.label) this.#sent = { label, key: newKey() }; // another label: another upload
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const patience = [...PATIENCE];
    for (;;) {
      const token = apiToken.get();
      try {
        return await this.#attempt({ token, signal });
      } catch (error) {
        const isToGoOn = error.status === 401 ? this.#otherToken(error, token) : this.#pause(error, patience);
        if (!(await isToGoOn)) throw error;
        signal.throwIfAborted();
      }
    }
  }

  cancel() {
    this.#stop?.abort();
    this.#isInDoubt ||= this.state === "storing";
    this.show("draft", this.#isInDoubt ? "Cancelled, maybe too late. Upload it again to be sure." : "Cancelled.");
    this.focus();
  }

  fail(error) {
    const { hasFocus } = this;
    const sentence = sentenceOf(error);
    this.#isInDoubt ||= !error.isRefusal;
    this.show(error.isFinal ? "refused" : "failed", sentence);
    if (hasFocus) this.focus();
    announce(`${this.input.value}: ${sentence}`);
  }

  show(state, sentence) {
    this.state = state;
    this.form.className = `upload ${state}`;
    [this.go, this.leave].forEach((button, at) => {
      button.textContent = (BUTTONS[state] ?? ["", "Cancel"])[at];
      button.hidden = !button.textContent;
    });
    this.input.readOnly = !this.isReady || this.#isInDoubt;
    this.#say(sentence);
  }

  focus() {
    (this.go.hidden ? this.leave : this.go).focus();
  }

  forget() {
    URL.revokeObjectURL(this.preview);
    this.row.remove();
  }

  #say(sentence) {
    this.form.querySelector(".state").textContent = sentence;
  }

  async #attempt(what) {
    const bar = this.form.querySelector("progress");
    const pace = new Pace();
    const onProgress = ({ loaded, total }) => ([bar.value, bar.max] = [loaded, total]);
    onProgress({ loaded: 0, total: this.file.size });
    this.show("sending", "Starting …");
    const ticks = setInterval(() => this.state === "sending" && this.#say(pace.at(bar.value, bar.max)), TICK_MS);
    try {
      const onSent = () => this.show("storing", "Storing …");
      return await transfer({ ...what, ...this.#sent, file: this.file, onProgress, onSent });
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
    this.#isInDoubt = true;
    const wait = Math.max(error.retryAfter ?? 0, seconds);
    this.show("waiting", `The first try is still going on; asking again in ${wait} seconds.`);
    await new Promise((resolve) => {
      setTimeout(resolve, wait * 1000);
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
