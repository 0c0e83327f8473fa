// What this browser may do. The service answers an upload with a manage token, which renames and deletes that one
// recipe: it is kept here by the recipe's id. An API token, where the service wants one, lives as long as the tab.

const PREFIX = "recipe_api.manage.";
const API = "recipe_api.token";

// Storage may be switched off, or full: then a token lives as long as the page.
const memory = new Map();

export const manageToken = (id) => read("localStorage", PREFIX + id);
export const keepManageToken = (id, token) => write("localStorage", PREFIX + id, token);
export const dropManageToken = (id) => write("localStorage", PREFIX + id, null);

export const apiToken = () => read("sessionStorage", API);
export const keepApiToken = (token) => write("sessionStorage", API, token);
export const dropApiToken = () => write("sessionStorage", API, null);

/** The token with which this recipe can be renamed and deleted, if there is one. */
export const tokenFor = (id) => manageToken(id) ?? apiToken();

function read(storage, name) {
  try {
    return window[storage].getItem(name) ?? memory.get(name) ?? null;
  } catch {
    return memory.get(name) ?? null;
  }
}

function write(storage, name, value) {
  memory.delete(name);
  try {
    if (value === null) window[storage].removeItem(name);
    else window[storage].setItem(name, value);
  } catch {
    if (value !== null) memory.set(name, value);
  }
}
