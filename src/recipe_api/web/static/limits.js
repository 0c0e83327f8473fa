// What the service accepts, as it wrote it into the page's form.

const form = document.getElementById("form");
const SPELLINGS = { webp: "WebP", jxl: "JPEG XL" }; // other kinds are written in capitals

export const maxPhotoBytes = Number(form.dataset.maxBytes);
export const maxResumableBytes = Number(form.dataset.maxResumableBytes);
export const maxLabelBytes = Number(form.dataset.maxLabelBytes);

/** `JPEG, PNG or WebP`; empty where the service accepts any file. */
export const acceptedTypes = new Intl.ListFormat("en-GB", { type: "disjunction" }).format(
  (form.elements.photo.accept.match(/[^,]+/g) ?? []).map(kindOf),
);

/** The name of a content type's kind of photo: `JPEG` for `image/jpeg`. */
export function kindOf(contentType) {
  const subtype = contentType.split("/").at(-1);
  return SPELLINGS[subtype] ?? subtype.toUpperCase();
}
