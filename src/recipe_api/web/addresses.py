"""Origins for Content-Security-Policy headers."""

from urllib.parse import urlsplit


def origin(url: str) -> str:
    """Return the origin of an address, its host in ASCII."""
    parts = urlsplit(url)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    return f"{parts.scheme}://{host}"
