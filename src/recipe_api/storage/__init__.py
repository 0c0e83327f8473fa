"""Bytes into an object store: keys, public addresses, the store's protocol, S3, and the writer that streams.

Nothing here knows of forms, of rows or of recipes.
"""
