// The page's own markup: its templates, its limits, and what it says to those who do not see it.

/** A copy of the element in the template of this id. */
export function copyOf(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** Has screen readers say a sentence when they have finished the last one. */
export function announce(sentence) {
  document.getElementById("announcer").textContent = sentence;
}

/** Shows a photo in its frame, or the name of its kind where the browser cannot show that. */
export function frame(photo, { source, kind }) {
  const image = photo.querySelector("img");
  const fallback = photo.querySelector(".fallback");
  image.addEventListener("error", () => {
    image.hidden = true;
    fallback.hidden = false;
    fallback.textContent = kind;
  });
  image.src = source;
}

/** What the service takes, as it wrote it into the page: `maxPhotoBytes`, `maxLabelBytes`. */
export const limits = () => document.getElementById("form").dataset;

/** What is wrong with a label, as a sentence; empty where nothing is. */
export function labelFault(label) {
  if (!label.trim()) return "Type a label first.";
  if (new TextEncoder().encode(label).length > limits().maxLabelBytes) return "The label is too long. Shorten it.";
  return "";
}
