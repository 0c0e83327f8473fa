// Confirms deletions. The page says that a photo is gone only after the service has confirmed it.

import { element, whenClosed } from "./markup.js";

const dialog = element("deletion");

/** Asks whether to delete the photo with this label, and returns true or false. "Cancel" has the focus at first. */
export function confirmDeletion(label) {
  dialog.querySelector("bdi").textContent = label;
  dialog.showModal();
  return new Promise((resolve) => {
    // Not when the dialog has closed: by then the tab may have, too.
    dialog.onsubmit = ({ submitter }) => resolve(submitter.value === "delete");
    whenClosed(dialog, () => resolve(false));
  });
}
