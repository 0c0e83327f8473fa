// The page's own markup: its templates, its limit, and what it says aloud.

export const element = (id) => document.getElementById(id);

/** A copy of the element in the template of this id. */
export const copyOf = (id) => element(id).content.firstElementChild.cloneNode(true);

/** Has screen readers say it, after what they are saying. */
export function announce(sentence) {
  element("announcer").textContent = sentence;
}

/** Shows a photo in its frame, or the name of its kind where the browser cannot show that. */
export function frame(photo, source, kind) {
  const image = photo.firstElementChild;
  image.onerror = () => image.replaceWith(kind.toUpperCase());
  image.src = source;
}

/** The largest photo that the service takes, as it wrote it into the page. */
export const maxBytes = Number(element("form").dataset.maxBytes);
