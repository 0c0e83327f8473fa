// The tokens of this browser: manage tokens by recipe id, each of which renames and deletes one recipe; and an API
// token, if the service requires one, kept until the tab is closed. The URL of an unfinished upload is a secret as well:
// it permits completing and deleting the upload.

const memory = {}; // used where storage is full or switched off

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
export const unfinishedUpload = ({ name, size, lastModified }) =>
  slot(storage("localStorage"), `recipe_api.upload.${name}.${size}.${lastModified}`);

/** Returns the token that renames and deletes this recipe, if there is one. */
export const tokenFor = (id) => manageToken(id).get() ?? apiToken.get();
