// One photo, from its choice until it is stored: a row of the queue.

import { Pace, size, sizes } from "./figures.js";
import { LabelField } from "./labels.js";
import { fill } from "./frames.js";
import { maxPhotoBytes, maxResumableBytes } from "./limits.js";
import { announce, copyOf, describe, rest } from "./markup.js";
import { sentenceOf } from "./problems.js";
import { unfinishedUpload } from "./tokens.js";
import { newKey, transfer } from "./transfer.js";

// What the two buttons of a row do in each state; in all others the upload is under way.
const BUTTONS = {
  draft: ["Upload", "Remove"],
  cancelled: ["Upload", "Remove"],
  paused: ["Try again", "Remove"],
  failed: ["Try again", "Remove"],
  refused: ["", "Remove"],
  stored: ["", ""],
};
const UNDER_WAY = ["", "Cancel"];
const TICK_MS = 500;
const MIN_RESUMABLE_BYTES = 2 ** 21; // a smaller photo takes a single request, and only seconds to send again
const RETRY_DELAYS = [2, 4, 8, 16]; // seconds to wait, at least, for an earlier attempt

export class Upload {
  isGoing = false; // whether it is being sent
  #sent = {}; // label and key
  #isInDoubt = false; // an attempt may have succeeded, so the key and the label must not change
  #wasInDoubt = false; // the same before the current attempt
  #stop;

  /** `name` distinguishes the rows; `onGo` and `onLeave` are called when a row's two buttons are pressed. */
  constructor(file, { name, onGo, onLeave, onProgress }) {
    this.file = file;
    this.name = name;
    this.onProgress = onProgress;
    this.row = copyOf("upload");
    this.form = this.row.firstElementChild;
    this.input = this.form.elements.label;
    this.bar = this.form.querySelector("progress");
    this.buttons = [...this.form.querySelectorAll("button")];
    this.#describe();
    this.label.set(file.name.replace(/\.[^.]*$/, "").replace(/[-_\s]+/g, " ").trim());
    this.form.onsubmit = (event) => {
      event.preventDefault();
      onGo(this);
    };
    this.buttons[1].onclick = () => onLeave(this);
    const fault = faultOf(file);
    this.preview = fault ? "" : URL.createObjectURL(file);
    const sources = fault ? [] : [{ src: this.preview }];
    fill(this.form.querySelector(".photo"), sources, file.name.split(".").at(-1).toUpperCase());
    const begun = unfinishedUpload(file).get() ? ", partly sent. The upload continues where it stopped." : "";
    this.show(fault ? "refused" : "draft", fault || size(file.size) + begun);
  }

  get isReady() {
    return Boolean(this.#labels[0]);
  }

  get isUnderWay() {
    return this.#labels === UNDER_WAY;
  }

  /** How many bytes of the photo have been sent, as far as the browser knows. */
  get sent() {
    if (this.state === "stored" || this.state === "storing") return this.file.size;
    return this.isGoing ? this.file.size * this.bar.position : 0;
  }

  get hasFocus() {
    return this.row.contains(document.activeElement);
  }

  wait() {
    this.show("waiting", "Waiting for its turn");
  }

  /** Sends the photo, with retries, and returns the recipe. */
  async send(token) {
    const label = this.input.value;
    if (label !== this.#sent.label) this.#sent = { label, key: newKey() }; // another label is another recipe
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const delays = [...RETRY_DELAYS];
    for (;;) {
      try {
        return await this.#attempt({ token, signal });
      } catch (error) {
        if (!(await this.#waitForEarlierAttempt(error, delays))) throw error;
        signal.throwIfAborted();
      }
    }
  }

  cancel() {
    this.#stop?.abort();
    const isLate = this.state === "sending" ? this.#wasInDoubt : this.#isInDoubt;
    this.show("cancelled", isLate ? "Cancelled, maybe too late. Upload it again to be sure." : "Cancelled.");
  }

  fail(error) {
    const sentence = sentenceOf(error);
    this.show(error.isFinal ? "refused" : "failed", sentence);
    announce(`${this.input.value}: ${sentence}`);
  }

  /** Shows a state. A focused button that now does something else passes the focus to its row. */
  show(state, sentence) {
    const focused = this.buttons.find((button) => button === document.activeElement);
    const action = focused?.textContent;
    this.state = state;
    this.form.className = `upload ${state}`;
    this.buttons.forEach((button, at) => {
      button.textContent = this.#labels[at];
      button.ariaLabel = `${button.textContent}: ${this.name}`;
      button.hidden = !button.textContent;
    });
    this.input.readOnly = !this.isReady || this.#isInDoubt;
    this.#say(sentence);
    if (focused?.textContent !== action) rest(this.form);
  }

  /** Returns the address of the photo's local file, which the caller revokes. */
  takePreview() {
    const { preview } = this;
    this.preview = "";
    return preview;
  }

  forget() {
    if (this.#isResumable && this.state !== "stored" && !this.#isInDoubt) loaded().then(({ discard }) => discard(this.file));
    URL.revokeObjectURL(this.preview);
    this.row.remove();
  }

  get #labels() {
    return BUTTONS[this.state] ?? UNDER_WAY;
  }

  #describe() {
    const state = this.form.querySelector(".state");
    this.label = new LabelField(this.input, this.form.querySelector(".problem"), state);
    describe(this.form, state);
    this.form.ariaLabel = this.name;
    this.input.ariaLabel = `Label: ${this.name}`;
    this.bar.ariaLabel = `Sent: ${this.name}`;
  }

  #say(sentence) {
    this.form.querySelector(".state").textContent = sentence;
  }

  get #isResumable() {
    return this.file.size >= MIN_RESUMABLE_BYTES && this.file.size <= maxResumableBytes;
  }

  async #attempt(what) {
    const pace = new Pace();
    const onProgress = ({ loaded, total }) => {
      [this.bar.value, this.bar.max] = [loaded, total];
      this.onProgress();
    };
    if (!this.#isResumable) onProgress({ loaded: 0, total: this.file.size });
    this.show("sending", "Starting …");
    this.#wasInDoubt = this.#isInDoubt;
    const tick = () => this.state === "sending" && this.#say(pace.at(this.bar.value, this.bar.max));
    const ticks = setInterval(tick, TICK_MS);
    try {
      const onUncertain = () => (this.#isInDoubt = true);
      const onSent = () => this.show("storing", "Storing …");
      const onWait = async (seconds) => {
        await this.#pause(seconds, `The upload was interrupted. It resumes in ${seconds} s.`);
        what.signal.throwIfAborted();
        this.show("sending", "Resuming …");
      };
      const send = this.#isResumable ? (await loaded()).resume : transfer;
      return await send({ ...what, ...this.#sent, file: this.file, onProgress, onUncertain, onSent, onWait });
    } catch (error) {
      if (error.isRefusal) this.#isInDoubt = this.#wasInDoubt;
      throw error;
    } finally {
      clearInterval(ticks);
    }
  }

  async #waitForEarlierAttempt(error, delays) {
    const seconds = error.code === "idempotency-key-in-use" && delays.shift();
    if (!seconds) return false;
    this.#isInDoubt = true;
    const wait = Math.max(error.retryAfter ?? 0, seconds);
    await this.#pause(wait, `The first attempt is still in progress. Trying again in ${wait} seconds.`);
    return true;
  }

  /** Waits for some seconds, or until the upload is cancelled or the network is back. */
  async #pause(seconds, sentence) {
    this.show("waiting", sentence);
    await new Promise((resolve) => {
      setTimeout(resolve, seconds * 1000);
      this.#stop.signal.onabort = resolve;
      addEventListener("online", resolve, { once: true });
    });
  }
}

// If the module cannot be loaded, photos are sent as forms.
const loaded = () => import("./resumable.js").catch(() => ({ resume: transfer, discard() {} }));

// Checked here because browsers read an early rejection only after they have sent the whole photo.
function faultOf(file) {
  if (!file.size) return "This file is empty. Choose another one.";
  if (file.size <= maxPhotoBytes) return "";
  const [actual, limit] = sizes(file.size, maxPhotoBytes);
  return `This photo is too large: ${actual}. The limit is ${limit}. Choose a smaller one.`;
}
