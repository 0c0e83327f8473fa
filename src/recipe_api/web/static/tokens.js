// What this browser may do. An upload is answered with a manage token, which renames and deletes that one recipe, and is
// kept by its id. An API token, where the service wants one, is kept until the tab is closed.

const memory = new Map(); // all that is left where storage is full or switched off

function slot(storage, name) {
  const tried = (work) => {
    try {
      return work(window[storage]);
    } catch {
      return null;
    }
  };
  return {
    get: () => memory.get(name) ?? tried((store) => store.getItem(name)),
    set(token) {
      memory.set(name, token);
      tried((store) => store.setItem(name, token));
    },
    drop() {
      memory.delete(name);
      tried((store) => store.removeItem(name));
    },
  };
}

export const apiToken = slot("sessionStorage", "recipe_api.token");
export const manageToken = (id) => slot("localStorage", `recipe_api.manage.${id}`);

/** With what this recipe can be renamed and deleted; null where there is nothing. */
export const tokenFor = (id) => manageToken(id).get() ?? apiToken.get();
