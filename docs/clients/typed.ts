// npx openapi-typescript http://127.0.0.1:8000/openapi.json --output recipe-api.d.ts
// usage: node typed.js http://127.0.0.1:8000 photo.jpg Pancakes
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import createClient from "openapi-fetch";
import type { paths } from "./recipe-api.js";

const [url, photo, label] = process.argv.slice(2) as [string, string, string];

const form = new FormData();
form.append("label", label);
form.append("photo", await openAsBlob(photo), basename(photo));

const client = createClient<paths>({ baseUrl: url });
const { data, error } = await client.POST("/recipe", {
  body: { label, photo: "" }, // the generated type of a binary field is string; the form holds the file itself
  bodySerializer: () => form,
});
if (error) throw new Error(JSON.stringify(error));
console.log(JSON.stringify(data));
