// Asks for an API token where the service requires one: once, however many requests need it.

import { listRecipes, SMALLEST_PAGE } from "./api.js";
import { describe, element, whenClosed } from "./markup.js";
import { apiToken } from "./tokens.js";

const UNKNOWN = Symbol("unknown");
const TOKEN = /^[!-~]+$/; // what a header can carry

const dialog = element("access");
const form = dialog.querySelector("form");
const input = form.elements.token;
const complaint = element("access-problem");
let accepted = UNKNOWN; // the token, or the lack of one, with which a request succeeded
let asking = null;
let checking = null;

describe(input, element("access-reason"), complaint);
form.onsubmit = (event) => {
  if (event.submitter?.value !== "use") return;
  input.value = input.value.trim(); // copied along with it
  if (TOKEN.test(input.value)) return;
  event.preventDefault();
  complain(input.value ? "A token has no spaces or accented letters. Copy it again." : "Enter a token.");
  input.focus();
};

/** Returns whether the service has accepted the token, or its absence, that an upload would use. */
export const isAdmitted = () => accepted === apiToken.get();

/**
 * Checks with a cheap request whether the service would accept an upload, and asks for a token if it would not.
 *
 * Returns false if nobody enters one. Browsers read an early rejection only after the whole photo.
 */
export function admit() {
  checking ??= check().finally(() => (checking = null));
  return checking;
}

/** Sends a request; if its token is rejected, sends it again with each token that the person enters. */
export async function withToken(request) {
  for (;;) {
    const token = apiToken.get();
    try {
      const result = await request();
      accepted = token;
      return result;
    } catch (error) {
      if (error.status !== 401 || !(await anotherToken(error, token))) throw error;
    }
  }
}

/** Returns whether there is a token other than the one that this problem rejected. */
export async function anotherToken(problem, refused) {
  if (accepted === refused) accepted = UNKNOWN;
  if (apiToken.get() !== refused) return true;
  asking ??= ask(problem.sentence).finally(() => (asking = null));
  return asking;
}

async function check() {
  try {
    await withToken(() => listRecipes(SMALLEST_PAGE));
  } catch (error) {
    if (error.status === 401) return false;
    accepted = apiToken.get(); // the upload itself will show what is wrong
  }
  return true;
}

function ask(reason) {
  element("access-reason").textContent = reason;
  dialog.returnValue = input.value = "";
  complain("");
  dialog.showModal();
  return new Promise((resolve) => whenClosed(dialog, () => resolve(isEntered())));
}

function isEntered() {
  if (dialog.returnValue !== "use") return false;
  apiToken.set(input.value);
  document.dispatchEvent(new Event("token"));
  return true;
}

function complain(sentence) {
  complaint.textContent = sentence;
  input.ariaInvalid = sentence ? "true" : null;
}
