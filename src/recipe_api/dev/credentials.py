"""Secrets of a data folder: made at random once, kept in files that only their owner reads."""

import os
import secrets
from pathlib import Path


def kept_secret(file: Path) -> str:
    """The secret in `file`, 64 hexadecimal digits (256 bits), made where there is none."""
    if not file.exists():
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            opened.write(secrets.token_hex(32))
        draft.replace(file)  # whole or not at all
    return file.read_text().strip()
