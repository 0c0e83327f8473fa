"""The record of what was uploaded: one table in PostgreSQL, and the only SQL of the service."""
