// One photo on its way: a row of the queue, from the choice of the file until it is stored.

import { size, Pace } from "./figures.js";
import { announce, copyOf, frame, labelFault, limits } from "./markup.js";
import { Problem } from "./problems.js";
import { apiToken } from "./tokens.js";
import { newKey, transfer } from "./transfer.js";

// What the two buttons of a row do in each state; none where there is nothing to do.
const BUTTONS = {
  draft: { go: "Upload", leave: "Remove" },
  failed: { go: "Try again", leave: "Remove" },
  refused: { leave: "Remove" },
  waiting: { leave: "Cancel" },
  sending: { leave: "Cancel" },
  storing: { leave: "Cancel" },
  stored: {},
};
const PATIENCE = [2, 4, 8, 16]; // seconds to wait while an earlier attempt with the same key is still going on

export class Upload {
  state = "draft";
  isGoing = false; // has a place among those that are sent at once
  #key = null;
  #keyLabel = null;
  #stop = null;

  /** `access` asks for an API token; `onGo` and `onLeave` are told what the row's buttons are pressed for. */
  constructor(file, { access, onGo, onLeave }) {
    this.file = file;
    this.access = access;
    this.row = copyOf("upload");
    this.form = this.row.querySelector("form");
    this.form.setAttribute("aria-label", file.name);
    this.form.elements.label.value = labelOf(file.name);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      onGo(this);
    });
    this.row.querySelector(".leave").addEventListener("click", () => onLeave(this));
    this.#preview();
    const fault = faultOf(file);
    this.show(fault ? "refused" : "draft", fault || size(file.size));
  }

  get label() {
    return this.form.elements.label.value;
  }

  /** Whether it is to be uploaded, or still can be. */
  get isReady() {
    return this.state === "draft" || this.state === "failed";
  }

  get isUnderWay() {
    return this.state === "waiting" || this.state === "sending" || this.state === "storing";
  }

  /** Whether its label will do; says what is wrong with it where it will not. */
  checkLabel() {
    const input = this.form.elements.label;
    input.setCustomValidity(labelFault(this.label));
    input.addEventListener("input", () => input.setCustomValidity(""), { once: true });
    return input.reportValidity();
  }

  /** Sends it, as often as that takes without asking anybody; answers with the recipe. */
  async send() {
    if (this.label !== this.#keyLabel) {
      this.#key = newKey(); // another label makes it another upload
      this.#keyLabel = this.label;
    }
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    for (let attempt = 0; ; attempt++) {
      const token = apiToken();
      try {
        return await this.#attempt({ token, signal });
      } catch (error) {
        const again = await this.#mayGoOn(error, { attempt, token, signal });
        signal.throwIfAborted();
        if (!again) throw error;
      }
    }
  }

  /** Stops sending it. What was sent to its end may have been stored: sent again, it makes no second recipe. */
  cancel() {
    const said = this.state === "storing" ? "Cancelled, perhaps too late: upload it again to be sure." : "Cancelled.";
    this.#stop?.abort();
    this.show("draft", said);
    this.focus();
  }

  show(state, sentence) {
    this.state = state;
    const { go, leave } = BUTTONS[state];
    this.form.className = `upload ${state}`;
    this.form.elements.label.readOnly = !this.isReady;
    label(this.form.querySelector(".primary"), go);
    label(this.form.querySelector(".leave"), leave);
    this.say(sentence);
  }

  say(sentence) {
    this.form.querySelector(".state").textContent = sentence;
  }

  /** What went wrong, told to eyes and ears. */
  fail(error) {
    const sentence = error instanceof Problem ? error.sentence : "The page made a mistake. Load it again.";
    const hadFocus = this.hasFocus;
    this.show("failed", sentence);
    if (hadFocus) this.focus();
    announce(`${this.label}: ${sentence}`);
  }

  get hasFocus() {
    return this.row.contains(document.activeElement);
  }

  focus() {
    this.form.querySelector("button:not([hidden])")?.focus();
  }

  focusLabel() {
    this.form.elements.label.focus();
    this.form.elements.label.select();
  }

  forget() {
    URL.revokeObjectURL(this.form.querySelector("img").src);
    this.row.remove();
  }

  #attempt({ token, signal }) {
    const bar = this.form.querySelector("progress");
    const pace = new Pace();
    bar.value = 0;
    this.show("sending", `0 of ${size(this.file.size)}`);
    return transfer({
      file: this.file,
      label: this.label,
      key: this.#key,
      token,
      signal,
      onProgress: (loaded, total) => {
        bar.value = loaded / total;
        const said = pace.at(loaded, total);
        if (said) this.say(said);
      },
      onSent: () => this.show("storing", "Sent. Storing …"),
    });
  }

  async #mayGoOn(error, { attempt, token, signal }) {
    if (error.status === 401) {
      this.show("waiting", error.sentence);
      return this.access.ask(error, { refused: token });
    }
    if (error.code !== "idempotency-key-in-use" || attempt >= PATIENCE.length) return false;
    const seconds = error.retryAfter ?? PATIENCE[attempt];
    this.show("waiting", `The first try is still going on; asking again in ${seconds} s.`);
    await pause(seconds, signal);
    return true;
  }

  #preview() {
    const kind = this.file.name.includes(".") ? this.file.name.split(".").at(-1).toUpperCase() : "Photo";
    frame(this.form.querySelector(".photo"), { source: URL.createObjectURL(this.file), kind });
  }
}

// What can be seen without the service, which a browser asks only after it has sent the whole photo.
function faultOf(file) {
  const most = Number(limits().maxPhotoBytes);
  if (file.size === 0) return "The file is empty. Choose another one.";
  if (file.size > most) return `The photo has ${size(file.size)}, and at most ${size(most)} are taken. Choose a smaller one.`;
  return "";
}

const labelOf = (name) => name.replace(/\.[^.]*$/, "").replace(/[-_\s]+/g, " ").trim();

function label(button, text) {
  button.hidden = !text;
  button.textContent = text ?? "";
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}
