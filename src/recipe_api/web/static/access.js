// Asks for an API token where the service wants one; once, however many requests want it.

import { element } from "./markup.js";
import { apiToken } from "./tokens.js";

const dialog = element("access");
const input = dialog.querySelector("input");
let asking = null;

/** Whether there is another token than the one that was refused with this problem. */
export async function anotherToken(problem, refused) {
  if (apiToken.get() !== refused) return true;
  asking ??= ask(problem.sentence).finally(() => (asking = null));
  return asking;
}

function ask(reason) {
  element("access-reason").textContent = reason;
  dialog.returnValue = input.value = "";
  dialog.showModal();
  return new Promise((resolve) => (dialog.onclose = () => resolve(isTaken())));
}

function isTaken() {
  const isGiven = dialog.returnValue === "use";
  if (isGiven) apiToken.set(input.value);
  document.dispatchEvent(new Event("token"));
  return isGiven;
}
