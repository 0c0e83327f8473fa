"""Content negotiation by the `Accept` and `Accept-Encoding` headers (RFC 9110 §12.5)."""

import re
from itertools import islice

from recipe_api.asgi import RequestHeaders

_ITEM = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*+"?)++')
"""One entry of a list. A comma inside a quoted parameter does not end it, and a quote that is never closed runs to the
end: searching for the closing quote again from each quote would take quadratic time."""
MAX_ITEMS = 50
"""The number of entries that are read; browsers send fewer than ten."""
_WEIGHT = re.compile(r"[01]|[01]?\.\d{0,9}")
"""More lenient than the grammar: Java sends `q=.2`."""

_JSON = ("application/json", "application/problem+json")
_HTTP_URL_CONNECTION = "text/html, image/gif, image/jpeg, *"
"""How the default `Accept` header of Java's HttpURLConnection begins, which API clients send unintentionally."""


def prefers_html(headers: RequestHeaders) -> bool:
    """Return whether the client prefers HTML to JSON, as a browser does when it submits a form.

    A client without a preference, such as one that sends `*/*` or no `Accept`, gets JSON.
    """
    accept = _joined(headers, b"accept")
    if "text/" not in accept or accept.startswith(_HTTP_URL_CONNECTION):
        return False
    ranges = _weights(accept)
    return _quality(ranges, "text/html") > max(_quality(ranges, media_type) for media_type in _JSON)


def accepts_gzip(headers: RequestHeaders) -> bool:
    """Return whether the client accepts gzip, and does not prefer an uncompressed body."""
    codings = _weights(_joined(headers, b"accept-encoding"))
    gzip = next((codings[name] for name in ("gzip", "x-gzip", "*") if name in codings), 0.0)
    return gzip > 0 and gzip >= codings.get("identity", 0.0)


def _joined(headers: RequestHeaders, name: bytes) -> str:
    return b", ".join(headers.values(name)).decode("latin-1").lower()


def _weights(header: str) -> dict[str, float]:
    """Return the weight of each entry by its name, without the entries whose weight is malformed."""
    weights: dict[str, float] = {}
    for item in islice(_ITEM.finditer(header), MAX_ITEMS):
        name, *parameters = (piece.strip() for piece in item[0].split(";", MAX_ITEMS))
        weight = next((value[2:] for value in parameters if value.startswith("q=")), "1")
        if _WEIGHT.fullmatch(weight) and weight != ".":
            weights[name] = max(weights.get(name, 0.0), min(float(weight), 1.0))
    return weights


def _quality(ranges: dict[str, float], media_type: str) -> float:
    """Return the weight of a media type. The most specific range that matches decides."""
    family = media_type.partition("/")[0]
    return next((ranges[name] for name in (media_type, f"{family}/*", "*/*") if name in ranges), 0.0)
