// Shows photos in their frames: a blurred placeholder first, then the first source that the browser can display.

import { RECIPES } from "./api.js";
import { blurOf } from "./blurs.js";
import { kindOf } from "./limits.js";

const NARROWEST = 1 / 2;
const WIDEST = 3;
const SAFARI_ONLY = /hei[cf]/; // other browsers show renditions of it, for which the service may need a moment
const RETRIES = [2, 4, 8, 16, 32]; // seconds, since an image cannot read Retry-After

/**
 * Shows the first of `sources` that loads, each the attributes of an image and how many seconds to wait before.
 *
 * If none loads, shows `text`.
 */
export async function fill(frame, sources, text) {
  for (const source of sources) {
    if (await load(frame.lastElementChild, source)) return frame.lastElementChild.previousElementSibling?.remove();
  }
  frame.replaceChildren(text);
}

/**
 * Shows a recipe's photo: the local file that was just uploaded, or else its renditions, or else its original.
 *
 * Until it is there, shows the element `meanwhile`, or a blur. The frame crops what is wider than `widest` times high.
 */
export function show(frame, recipe, { preview, meanwhile, widest = WIDEST }) {
  const { placeholder, content_type: type } = recipe;
  frame.prepend(meanwhile ?? (placeholder ? blurOf(placeholder) : ""));
  return fill(frame, sourcesOf(recipe, preview, widest), kindOf(type));
}

/** The proportions to reserve for a photo, within bounds: one that is a thin strip is cropped. */
export const ratioOf = ({ width, height }) => Math.min(Math.max(width / height, NARROWEST), WIDEST);

function sourcesOf({ renditions, location, content_type: type }, preview, widest) {
  const made = { srcset: renditions.map((rendition) => candidate(rendition, widest)).join() };
  const waits = SAFARI_ONLY.test(type) ? RETRIES : [];
  const ofRenditions = renditions.length ? [made, ...waits.map((seconds) => ({ ...made, seconds }))] : [];
  return [...(preview ? [{ src: preview }] : []), ...ofRenditions, { src: location }];
}

// Where the frame crops the photo, only the pixels that it shows count.
function candidate({ location, width, height }, widest) {
  return `${new URL(location, RECIPES)} ${Math.min(width, height * widest)}w`;
}

// A fresh element each time: a browser may not load the same URL again into one where it has failed.
async function load(image, { seconds = 0, ...attributes }) {
  if (seconds) await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const fresh = image.cloneNode();
  ["src", "srcset"].forEach((name) => fresh.removeAttribute(name));
  const loaded = new Promise((resolve) => {
    fresh.onload = () => resolve(true);
    fresh.onerror = () => resolve(false);
  });
  Object.assign(fresh, attributes);
  image.replaceWith(fresh);
  return loaded;
}
