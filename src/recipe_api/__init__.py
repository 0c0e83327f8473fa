"""Streams a labelled photo to S3 while it arrives, and records it in PostgreSQL."""
