// usage: node fetch.mjs http://127.0.0.1:8000 photo.jpg Pancakes
// Node.js 20 or newer; the same code runs in browsers with a File from an <input type="file">.
import { openAsBlob } from "node:fs";
import { basename } from "node:path";

const [url, photo, label] = process.argv.slice(2);

const form = new FormData();
form.append("label", label);
form.append("photo", await openAsBlob(photo), basename(photo));

const response = await fetch(`${url}/recipe`, { method: "POST", body: form });
if (!response.ok) throw new Error(await response.text());
console.log(await response.text());
