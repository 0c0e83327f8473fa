// Express with multer-s3 in its best configuration: multer-s3 streams the photo to the store, pg inserts the row. One
// process. No log, no check of what the photo is, no limit, nothing undone. multer-s3 cuts parts of 5 MiB and has four
// of them on their way; neither can be set.
//
// With REMOVE_METADATA, multer keeps the photo in memory, and sharp encodes it again, upright and without metadata, as
// its documentation shows.

import { Agent } from "node:http";
import { Agent as SecureAgent } from "node:https";
import { randomUUID } from "node:crypto";

import { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import express from "express";
import multer from "multer";
import multerS3 from "multer-s3";
import pg from "pg";

const environment = process.env;

const connections = { keepAlive: true, maxSockets: 256 };
const s3 = new S3Client({
  region: environment.AWS_REGION,
  endpoint: environment.S3_ENDPOINT_URL,
  forcePathStyle: true,
  expectContinueHeader: false, // one way to and fro less for each part
  // The newer default adds a CRC32 to every body, in a trailer.
  requestChecksumCalculation: "WHEN_REQUIRED",
  responseChecksumValidation: "WHEN_REQUIRED",
  requestHandler: new NodeHttpHandler({ httpAgent: new Agent(connections), httpsAgent: new SecureAgent(connections) }),
});

// The SDK has no setting that spares it the SHA-256 of each part. This header, which stands for it, does.
const unsigned = (next) => (step) => {
  step.request.headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD";
  return next(step);
};
s3.middlewareStack.add(unsigned, { step: "build" });

const pool = new pg.Pool({ connectionString: environment.DATABASE_URL, max: 20 });
await pool.query(`CREATE TABLE IF NOT EXISTS express_recipe (
  id uuid PRIMARY KEY, label text NOT NULL, key text NOT NULL UNIQUE, location text NOT NULL,
  content_type text NOT NULL, size bigint NOT NULL, etag text NOT NULL, original_name text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now())`);
await pool.query("CREATE INDEX IF NOT EXISTS express_recipe_created_at ON express_recipe (created_at, id)");

const insert = {
  name: "insert", // prepared once a connection
  text: `INSERT INTO express_recipe (id, label, key, location, content_type, size, etag, original_name)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING created_at`,
};

// Tutorials use the millisecond alone as the key, which two uploads at once share.
const newKey = () => `${Date.now()}-${randomUUID()}.jpg`;

const untouched = multerS3({
  s3,
  bucket: environment.S3_BUCKET,
  contentType: (_request, file, done) => done(null, file.mimetype),
  key: (_request, _file, done) => done(null, newKey()),
});

const store = async (request, _response, next) => {
  const { default: sharp } = await import("sharp");
  const { file } = request;
  const body = await sharp(file.buffer).rotate().toBuffer();
  const named = { Bucket: environment.S3_BUCKET, Key: newKey() };
  const { ETag: etag } = await s3.send(new PutObjectCommand({ ...named, Body: body, ContentType: file.mimetype }));
  const location = `${environment.S3_ENDPOINT_URL}/${named.Bucket}/${named.Key}`;
  Object.assign(file, { key: named.Key, location, contentType: file.mimetype, size: body.length, etag });
  next();
};

const removes = Boolean(environment.REMOVE_METADATA);
const upload = multer({ storage: removes ? multer.memoryStorage() : untouched });
const received = [upload.single("photo"), ...(removes ? [store] : [])];

const app = express();
app.disable("x-powered-by");
app.disable("etag");

app.get("/readyz", (_request, response) => response.json({}));

app.post("/recipe", ...received, async (request, response) => {
  const { key, location, contentType, size, etag, originalname } = request.file;
  const recipe = { id: randomUUID(), label: request.body.label, key, location, contentType, size, etag, originalname };
  const { rows } = await pool.query({ ...insert, values: Object.values(recipe) });
  response.status(201).json({ ...recipe, createdAt: rows[0].created_at });
});

const list = {
  name: "list",
  text: "SELECT * FROM express_recipe ORDER BY created_at DESC, id DESC LIMIT 50 OFFSET $1",
};
const single = { name: "single", text: "SELECT * FROM express_recipe WHERE id = $1" };

app.get("/recipe", async (request, response) => {
  const { rows } = await pool.query({ ...list, values: [Number(request.query.offset ?? 0)] });
  response.json(rows);
});

app.get("/recipe/:id", async (request, response) => {
  const { rows } = await pool.query({ ...single, values: [request.params.id] });
  if (rows.length) response.json(rows[0]);
  else response.status(404).json({});
});

const server = app.listen(Number(environment.PORT), "127.0.0.1");
server.keepAliveTimeout = 95_000;
server.requestTimeout = 0;
process.on("SIGTERM", () => process.exit(0));
