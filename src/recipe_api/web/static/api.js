// The API, except for uploads, which are in transfer.js. Every failure is thrown as a Problem.

import { problemOf, noResponse } from "./problems.js";
import { apiToken, tokenFor } from "./tokens.js";

/** The URL of recipes, relative to this folder, so that it includes any path that a proxy adds. */
export const RECIPES = new URL("../recipe", import.meta.url).href;

export const FIRST_PAGE = `${RECIPES}?limit=24`; // 24 fill rows of 2, 3 and 4
export const SMALLEST_PAGE = `${RECIPES}?limit=1`;

/** Returns a page of recipes: `items`, and `next`, the URL of the next page. */
export const listRecipes = async (address) => (await call(address, { token: apiToken.get() })).json();

export async function renameRecipe(id, label) {
  const body = JSON.stringify({ label });
  const headers = { "Content-Type": "application/json" };
  return (await call(`${RECIPES}/${id}`, { method: "PATCH", token: tokenFor(id), body, headers })).json();
}

/** Deletes a recipe and its photo, even if the page is closed meanwhile. */
export const deleteRecipe = (id) =>
  call(`${RECIPES}/${id}`, { method: "DELETE", token: tokenFor(id), keepalive: true });

async function call(address, { token, headers = {}, ...options }) {
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(address, { ...options, headers }).catch(() => {
    throw noResponse("connection-lost");
  });
  if (response.ok) return response;
  throw problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
}
