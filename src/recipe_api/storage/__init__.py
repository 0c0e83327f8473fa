"""Storing objects: keys, public addresses, the store's protocol, S3, and the streaming writer.

Nothing here depends on forms, rows or recipes.
"""
