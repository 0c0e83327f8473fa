"""The service against what one would write instead; see `command.py`."""
