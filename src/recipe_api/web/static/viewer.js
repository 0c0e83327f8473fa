// The large view: one photo of the gallery at a time, in a dialog that fills the window.

import { show } from "./frames.js";
import { element } from "./markup.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };
const SWIPE = 40; // pixels, at least, and further across than up or down

const dialog = element("viewer");
const title = element("viewer-title");
const original = dialog.querySelector("a");
const complaint = dialog.querySelector(".problem");
const [previous, next] = dialog.querySelectorAll("button");

export class Viewer {
  #tile; // the one whose photo is shown
  #touch; // where a swipe may have begun

  /** `gallery` provides the order of the photos. */
  constructor(gallery) {
    this.gallery = gallery;
    previous.onclick = () => this.#step(-1);
    next.onclick = () => this.#step(1);
    dialog.onkeydown = (event) => {
      const hasModifier = event.altKey || event.ctrlKey || event.metaKey; // Alt and an arrow leave the page
      if (STEPS[event.key] && !hasModifier) this.#step(STEPS[event.key]);
    };
    dialog.addEventListener("touchstart", ({ touches }) => this.#touchAt(touches), { passive: true });
    dialog.addEventListener("touchend", ({ changedTouches }) => this.#swipeTo(changedTouches[0]));
    dialog.onclose = () => dialog.open || this.#leave();
  }

  open(tile) {
    this.#show(tile);
    dialog.showModal();
  }

  #show(tile) {
    this.#tile = tile;
    const { label, location } = tile.recipe;
    title.textContent = label;
    original.href = location;
    complaint.textContent = "";
    previous.ariaDisabled = !this.gallery.hasBeside(tile, -1);
    next.ariaDisabled = !this.gallery.hasBeside(tile, 1);
    this.#fill(tile);
  }

  async #step(step) {
    const from = this.#tile;
    const tile = await this.gallery.beside(from, step);
    if (from !== this.#tile || !dialog.open) return;
    if (tile) this.#show(tile);
    else complaint.textContent = this.gallery.reason;
  }

  // More than one finger zooms, and one finger moves what has been zoomed.
  #touchAt(touches) {
    this.#touch = touches.length === 1 && visualViewport.scale === 1 ? touches[0] : null;
  }

  #swipeTo({ clientX, clientY }) {
    if (!this.#touch) return;
    const [across, along] = [clientX - this.#touch.clientX, clientY - this.#touch.clientY];
    this.#touch = null;
    if (Math.abs(across) > Math.max(SWIPE, Math.abs(along))) this.#step(-Math.sign(across));
  }

  #leave() {
    dialog.firstElementChild.replaceChildren(); // stops what is still loading
    if (this.#tile.row.isConnected) this.#tile.focusPhoto();
    else this.gallery.focus();
  }

  // In a new frame, because an earlier photo may still be loading into the old one.
  #fill({ recipe, preview, photo }) {
    const { label, width, height } = recipe;
    const frame = dialog.firstElementChild.cloneNode();
    const image = Object.assign(new Image(), { alt: label, draggable: false });
    if (width) {
      image.sizes = `min(100vw, ${width}px, (100vh - 6.25rem) * ${width / height})`; // as in the style sheet
      frame.style.setProperty("--width", `${width}px`);
      frame.style.setProperty("--height", `${height}px`);
    }
    frame.append(image);
    dialog.firstElementChild.replaceWith(frame);
    show(frame, recipe, { preview, meanwhile: photo.querySelector("img")?.cloneNode(), widest: Infinity });
  }
}
