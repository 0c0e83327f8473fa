"""Uploads, from form to row: the only package that combines forms, storage and the database."""
