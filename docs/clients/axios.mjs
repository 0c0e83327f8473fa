// usage: node axios.mjs http://127.0.0.1:8000 photo.jpg Pancakes
import { openAsBlob } from "node:fs";
import { basename } from "node:path";
import axios from "axios";

const [url, photo, label] = process.argv.slice(2);

const form = new FormData();
form.append("label", label);
form.append("photo", await openAsBlob(photo), basename(photo));

const response = await axios.post(`${url}/recipe`, form); // rejects unless the status is 2xx
console.log(JSON.stringify(response.data));
