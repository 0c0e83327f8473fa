// The page's own markup: its templates, its limits, and what it says aloud.

export const element = (id) => document.getElementById(id);

/** A copy of the element in the template of this id. */
export const copyOf = (id) => element(id).content.firstElementChild.cloneNode(true);

/** Has screen readers say a sentence when they have finished the last one. */
export function announce(sentence) {
  element("announcer").textContent = sentence;
}

/** Shows a photo in its frame, or the name of its kind where the browser cannot show that. */
export function frame(photo, source, kind) {
  const [image, fallback] = photo.children;
  fallback.textContent = kind.toUpperCase();
  image.onerror = () => {
    image.hidden = true;
    fallback.hidden = false;
  };
  image.src = source;
}

/** What the service takes, as it wrote it into the page: `maxPhotoBytes` and `maxLabelBytes`. */
export const limits = element("form").dataset;

/** What is wrong with a label, as a sentence; empty where nothing is. */
export function labelFault(label) {
  if (!label.trim()) return "Type a label.";
  return new TextEncoder().encode(label).length > limits.maxLabelBytes ? "The label is too long. Shorten it." : "";
}
