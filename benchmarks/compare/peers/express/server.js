// Express with multer-s3 in its best configuration: multer-s3 streams the photo to the store, pg inserts the row. One
// process. No log, no check of what the photo is, no limit, nothing undone. multer-s3 cuts parts of 5 MiB and has four
// of them on their way; neither can be set.

import { Agent } from "node:http";
import { randomUUID } from "node:crypto";

import { S3Client } from "@aws-sdk/client-s3";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import express from "express";
import multer from "multer";
import multerS3 from "multer-s3";
import pg from "pg";

const environment = process.env;

const s3 = new S3Client({
  region: environment.AWS_REGION,
  endpoint: environment.S3_ENDPOINT_URL,
  forcePathStyle: true,
  expectContinueHeader: false, // one way to and fro less for each part
  // The newer default adds a CRC32 to every body, in a trailer.
  requestChecksumCalculation: "WHEN_REQUIRED",
  responseChecksumValidation: "WHEN_REQUIRED",
  requestHandler: new NodeHttpHandler({ httpAgent: new Agent({ keepAlive: true, maxSockets: 256 }) }),
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

const insert = {
  name: "insert", // prepared once a connection
  text: `INSERT INTO express_recipe (id, label, key, location, content_type, size, etag, original_name)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING created_at`,
};

const upload = multer({
  storage: multerS3({
    s3,
    bucket: environment.S3_BUCKET,
    contentType: (_request, file, done) => done(null, file.mimetype),
    // Tutorials use the millisecond alone as the key, which two uploads at once share.
    key: (_request, _file, done) => done(null, `${Date.now()}-${randomUUID()}.jpg`),
  }),
});

const app = express();
app.disable("x-powered-by");
app.disable("etag");

app.get("/readyz", (_request, response) => response.json({}));

app.post("/recipe", upload.single("photo"), async (request, response) => {
  const { key, location, contentType, size, etag, originalname } = request.file;
  const recipe = { id: randomUUID(), label: request.body.label, key, location, contentType, size, etag, originalname };
  const { rows } = await pool.query({ ...insert, values: Object.values(recipe) });
  response.status(201).json({ ...recipe, createdAt: rows[0].created_at });
});

const server = app.listen(Number(environment.PORT), "127.0.0.1");
server.keepAliveTimeout = 95_000;
server.requestTimeout = 0;
process.on("SIGTERM", () => process.exit(0));
