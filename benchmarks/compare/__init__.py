"""Compares the service with its alternatives; see `command.py`."""
