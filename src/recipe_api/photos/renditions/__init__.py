"""Makes renditions: smaller copies of a photo, in a format that every browser shows, and a placeholder.

`sizes` decides which renditions a photo has. `process` makes them, in a child process; `slot`
lets one such process run at a time.
"""
