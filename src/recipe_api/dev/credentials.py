"""Secrets of a data folder: random, and stored in files that only their owner can read."""

import os
import secrets
from pathlib import Path


def load_or_create_secret(file: Path) -> str:
    """Return the secret in `file`, 64 hexadecimal digits (256 bits); create it if the file is missing."""
    if not file.exists():
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            opened.write(secrets.token_hex(32))
        draft.replace(file)  # atomic
    return file.read_text().strip()
