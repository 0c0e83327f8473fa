"""Idempotency keys."""

from hashlib import sha256


def key_of(name: str) -> str:
    """Return a key that the service accepts from anyone, the same for the same name."""
    return sha256(name.encode()).hexdigest()[:32]
