// usage: node tus.mjs http://127.0.0.1:8000 photo.jpg Pancakes
// Resumes after a lost connection. In browsers, pass a File instead of the bytes.
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { Upload } from "tus-js-client";

const [url, photo, label] = process.argv.slice(2);
const bytes = await readFile(photo);

const upload = await new Promise((resolve, reject) => {
  const options = {
    endpoint: `${url}/uploads`,
    metadata: { filename: basename(photo), label }, // with a label, the last byte creates the recipe
    retryDelays: [0, 1000, 3000, 5000, 10000],
    onError: reject,
    onSuccess: () => resolve(started),
  };
  const started = new Upload(bytes, options);
  started.start();
});

// The recipe exists already; this returns its JSON, which includes the manage_token.
const response = await fetch(`${url}/recipe`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ upload: upload.url.split("/").pop() }),
});
if (!response.ok) throw new Error(await response.text());
console.log(await response.text());
