"""Renditions: smaller copies of a photo in a format that every browser displays, and a placeholder.

`sizes` decides which renditions a photo has. `process` makes them in a child process, and `slot` ensures that only one
such process runs at a time.
"""
