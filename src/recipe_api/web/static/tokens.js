// What this browser may do: manage tokens, each of which renames and deletes one recipe, kept by its id; and an API
// token, where the service wants one, kept until the tab is closed.

const memory = {}; // in place of a storage that is full or switched off

function storage(name) {
  try {
    return window[name];
  } catch {
    return memory;
  }
}

const slot = (store, name) => ({
  get: () => store[name] ?? memory[name],
  set(token) {
    try {
      store[name] = token;
    } catch {
      memory[name] = token;
    }
  },
  drop: () => delete store[name] && delete memory[name],
});

export const apiToken = slot(storage("sessionStorage"), "recipe_api.token");
export const manageToken = (id) => slot(storage("localStorage"), `recipe_api.manage.${id}`);

/** With what this recipe can be renamed and deleted, if at all. */
export const tokenFor = (id) => manageToken(id).get() ?? apiToken.get();
