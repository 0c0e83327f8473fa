// usage: node form-data-buffer.mjs http://127.0.0.1:8000 photo.jpg Pancakes
// form-data with a Buffer. Without a file name the part needs a content type, to be recognized as a file.
import { readFile } from "node:fs/promises";
import FormData from "form-data";

const [url, photo, label] = process.argv.slice(2);

const form = new FormData();
form.append("label", label);
form.append("photo", await readFile(photo), { contentType: "image/jpeg" });

form.submit(`${url}/recipe`, (error, response) => {
  if (error) throw error;
  if (response.statusCode !== 201) process.exitCode = 1;
  response.pipe(process.stdout);
});
