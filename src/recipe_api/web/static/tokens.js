// What this browser may do: manage tokens, each of which renames and deletes one recipe, kept by its id; and an API
// token, where the service wants one, kept until the tab is closed.

const tab = storage("sessionStorage");
const browser = storage("localStorage");

// Where it is switched off, what is kept there lasts as long as the page.
function storage(name) {
  try {
    return window[name];
  } catch {
    return {};
  }
}

const slot = (store, name) => ({
  get: () => store[name],
  set: (token) => (store[name] = token),
  drop: () => delete store[name],
});

export const apiToken = slot(tab, "recipe_api.token");
export const manageToken = (id) => slot(browser, `recipe_api.manage.${id}`);

/** With what this recipe can be renamed and deleted, if at all. */
export const tokenFor = (id) => manageToken(id).get() ?? apiToken.get();
