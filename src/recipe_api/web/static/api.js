// The API but for uploading, which transfer.js does. What goes wrong is thrown as a Problem.

import { connectionLost, problemOf } from "./problems.js";
import { apiToken, tokenFor } from "./tokens.js";

const PAGE = 24; // fills rows of 2, 3, 4 and 6 tiles

/** A page of recipes, newest first: `items`, and in `next` the address of the page after it. */
export async function listRecipes(address) {
  const answer = await call(address ?? `/recipe?limit=${PAGE}`, { token: apiToken() });
  return answer.json();
}

/** Gives a recipe another label. */
export async function renameRecipe(id, label) {
  const answer = await call(`/recipe/${id}`, { method: "PATCH", token: tokenFor(id), json: { label } });
  return answer.json();
}

/** Deletes a recipe and its photo; `keepalive` lets the request outlive the page. */
export function deleteRecipe(id, { keepalive = false } = {}) {
  return call(`/recipe/${id}`, { method: "DELETE", token: tokenFor(id), keepalive });
}

async function call(address, { token, json, ...options }) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (json) headers["Content-Type"] = "application/json";
  const body = json && JSON.stringify(json);
  let answer;
  try {
    answer = await fetch(address, { ...options, headers, body });
  } catch {
    throw connectionLost();
  }
  if (answer.ok) return answer;
  const retryAfter = answer.headers.get("Retry-After");
  throw problemOf({ status: answer.status, text: await answer.text(), retryAfter });
}
