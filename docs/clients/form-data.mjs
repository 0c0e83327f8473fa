// usage: node form-data.mjs http://127.0.0.1:8000 photo.jpg Pancakes
// The npm package form-data, which streams the file, with Node's own http module.
import { createReadStream } from "node:fs";
import FormData from "form-data";

const [url, photo, label] = process.argv.slice(2);

const form = new FormData();
form.append("label", label);
form.append("photo", createReadStream(photo));

form.submit(`${url}/recipe`, (error, response) => {
  if (error) throw error;
  if (response.statusCode !== 201) process.exitCode = 1;
  response.pipe(process.stdout);
});
