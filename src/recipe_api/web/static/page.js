// The page at /. Its form works without scripts; with them, photos go through a queue and appear in a gallery.

import { Gallery } from "./gallery.js";
import { announce, copyOf, element, rest } from "./markup.js";
import { Queue } from "./queue.js";
import { apiToken, manageToken } from "./tokens.js";

const form = element("form");
const gallery = new Gallery();
const queue = new Queue({
  onStored({ manage_token: token, ...recipe }, preview) {
    manageToken(recipe.id).set(token);
    gallery.add(recipe, preview);
    announce(`${recipe.label} has been stored.`);
  },
  onEmpty: () => gallery.focus(),
});

takeOverForm();
takeDropsAndPastes();
refresh();
document.addEventListener("token", refresh);
addEventListener("storage", refresh); // another tab changed the tokens
element("forget").onclick = () => {
  apiToken.drop();
  refresh();
  rest(element("title"));
  announce("The token has been forgotten.");
};
element("gallery").hidden = false;
gallery.load();

function takeOverForm() {
  form.querySelector(".plain").remove();
  form.elements.photo.multiple = true;
  form.onsubmit = (event) => event.preventDefault();
  element("drop").append(copyOf("camera"));
  form.onchange = ({ target }) => {
    queue.add(target.files);
    target.value = ""; // otherwise the same photo could not be chosen again
  };
  form.onchange({ target: form.elements.photo }); // chosen before this script had loaded
}

function takeDropsAndPastes() {
  const { classList } = document.documentElement;
  document.ondragover = (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    classList.add("dropping");
  };
  document.ondragleave = ({ relatedTarget }) => relatedTarget ?? classList.remove("dropping");
  document.ondrop = (event) => {
    classList.remove("dropping");
    take(event, event.dataTransfer);
  };
  document.onpaste = (event) => take(event, event.clipboardData);
}

function take(event, { files, types }) {
  if (!files.length) return; // text, which the browser handles
  if (event.target.matches?.("input") && types.includes("text/plain")) return; // text that brings a picture of itself
  event.preventDefault();
  queue.add(files);
}

function refresh() {
  element("forget").hidden = !apiToken.get();
  gallery.refresh();
}
