"""Knows what a photo is: its type, its dimensions, and how to remove its metadata while it streams.

`kinds` recognizes types by first bytes. `filtering` has the base of the metadata filters, one per type, in the modules
`jpeg`, `png`, `gif`, `webp` and `heif` (which needs `heif_items`, `heif_tracks`, `extents` and `isobmff`); `metadata`
chooses among them. Nothing here knows about forms, storage or recipes.
"""
