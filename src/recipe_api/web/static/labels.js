// The rules for labels, the same as those of the service, checked before anything is sent.

import { maxLabelBytes } from "./limits.js";
import { describe } from "./markup.js";

const BLANK = /^[\p{Z}\p{Cc}\p{Cf}]*$/u; // spaces, and characters that take up no room

/** A field for a label, and the text below it that says what is wrong. */
export class LabelField {
  constructor(input, complaint, ...descriptions) {
    this.input = input;
    this.complaint = complaint;
    describe(input, complaint, ...descriptions);
    input.oninput = () => input.ariaInvalid && this.check(); // the error disappears as soon as it is corrected
  }

  /** Returns whether the service would accept the label; if not, says why. */
  check() {
    const fault = faultOf(this.input.value);
    this.input.ariaInvalid = fault ? "true" : null;
    if (this.complaint.textContent !== fault) this.complaint.textContent = fault;
    return !fault;
  }

  /** Sets the label and clears the error. */
  set(label) {
    this.input.value = label;
    this.input.ariaInvalid = null;
    this.complaint.textContent = "";
  }
}

function faultOf(label) {
  if (BLANK.test(label)) return "Enter a label that says what the photo shows.";
  const excess = new TextEncoder().encode(label).length - maxLabelBytes;
  return excess > 0 ? `This label is too long by ${excess} ${excess > 1 ? "bytes" : "byte"}. Shorten it.` : "";
}
