// The page at /, and an example of using the API from a browser. The form works without this; from here on photos go
// through a queue, and what is there already is shown below it.

import { Access } from "./access.js";
import { Deletions } from "./deletions.js";
import { Gallery } from "./gallery.js";
import { announce, copyOf } from "./markup.js";
import { Queue } from "./queue.js";
import { apiToken, dropApiToken, keepManageToken } from "./tokens.js";

const form = document.getElementById("form");
const forget = document.getElementById("forget");

const access = new Access({ onChange: refresh });
const gallery = new Gallery({ access, deletions: new Deletions() });
const queue = new Queue({
  access,
  onStored({ manage_token: token, ...recipe }) {
    keepManageToken(recipe.id, token);
    gallery.add(recipe);
    announce(`${recipe.label} is stored.`);
  },
  onEmpty: () => form.elements.photo.focus(),
});

takeOverForm();
takeDropsAndPastes();
forget.addEventListener("click", () => {
  dropApiToken();
  refresh();
  form.elements.photo.focus();
});
refresh();
document.getElementById("gallery").hidden = false;
gallery.load();

function takeOverForm() {
  form.querySelector(".plain").remove();
  form.elements.photo.multiple = true;
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("drop").append(copyOf("camera")); // shown where a finger is the pointer
  form.addEventListener("change", ({ target }) => {
    queue.add([...target.files]);
    target.value = ""; // or the same file could not be chosen again
  });
}

function takeDropsAndPastes() {
  const { classList } = document.documentElement;
  document.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    classList.add("dropping");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget ?? classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    classList.remove("dropping");
    take(event, event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => take(event, event.clipboardData.files));
}

function take(event, files) {
  if (!files.length) return; // text, which goes where it went
  event.preventDefault();
  queue.add([...files]);
}

function refresh() {
  forget.hidden = apiToken() === null;
  gallery.refresh();
}
