// The API but for uploads, which are in transfer.js. What goes wrong is thrown as a Problem.

import { problemOf, unanswered } from "./problems.js";
import { apiToken, tokenFor } from "./tokens.js";

export const FIRST_PAGE = "/recipe?limit=24"; // 24 fill rows of 2, 3 and 4

/** A page of recipes: `items`, and `next`, the address of the page after it. */
export const listRecipes = async (address) => (await call(address, { token: apiToken.get() })).json();

export async function renameRecipe(id, label) {
  const body = JSON.stringify({ label });
  const headers = { "Content-Type": "application/json" };
  return (await call(`/recipe/${id}`, { method: "PATCH", token: tokenFor(id), body, headers })).json();
}

/** Deletes a recipe and its photo; with `keepalive` also when the page is left. */
export const deleteRecipe = (id, { keepalive }) =>
  call(`/recipe/${id}`, { method: "DELETE", token: tokenFor(id), keepalive });

async function call(address, { token, headers = {}, ...options }) {
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(address, { ...options, headers }).catch(() => {
    throw unanswered("connection-lost");
  });
  if (answer.ok) return answer;
  throw problemOf(answer.status, await answer.text(), answer.headers.get("Retry-After"));
}
