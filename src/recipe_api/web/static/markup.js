// Helpers for the page's own markup: templates, descriptions, announcements and focus.

let texts = 0;

export const element = (id) => document.getElementById(id);

/** Returns a copy of the element in the template with this id. */
export const copyOf = (id) => element(id).content.firstElementChild.cloneNode(true);

/** Has screen readers say these texts after the name of `control`. */
export function describe(control, ...descriptions) {
  descriptions.forEach((text) => (text.id ||= `text-${++texts}`));
  control.setAttribute("aria-describedby", descriptions.map(({ id }) => id).join(" "));
}

/** Has screen readers say a sentence when they have finished the current one. */
export function announce(sentence) {
  element("announcer").textContent = sentence;
}

/**
 * Moves the focus to a heading or a row, which does nothing when a key is pressed, and does not scroll.
 *
 * For when what had the focus is gone, or would now do something else than what the person meant.
 */
export const rest = (place) => place.focus({ preventScroll: true });

/** Calls back when an open dialog has closed. An event of its last closing, which may still come, is ignored. */
export function whenClosed(dialog, callback) {
  dialog.onclose = () => dialog.open || callback();
}
