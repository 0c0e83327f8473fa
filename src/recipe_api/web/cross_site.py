"""Rejects uploads that a page of another site makes in a visitor's browser without the visitor's knowledge.

Browsers send a form to any site without asking that site first. A service without API tokens on a private network
relies on its address for protection, and such a form bypasses it: the visitor's browser is inside. Nothing can be read
that way, but photos can be stored. Browsers mark these requests with `Sec-Fetch-Site: cross-site`
(https://www.w3.org/TR/fetch-metadata/), which a page cannot change; other clients do not send it.
"""

import re
from collections.abc import Iterable
from typing import Literal

from starlette.requests import Request

from recipe_api.asgi import headers_of
from recipe_api.errors import CrossSiteForm
from recipe_api.web.cors import origin_regex
from recipe_api.web.peers import is_on_a_private_network

Refused = Literal["private", "always", "never"]


class CrossSiteForms:
    """Decides which uploads from other sites are rejected.

    Args:
        refused: From clients on private networks only, from all clients, or from none.
        allowed_origins: Sites whose pages may upload, as `CORS_ORIGINS` names them.
    """

    def __init__(self, *, refused: Refused, allowed_origins: Iterable[str]) -> None:
        self._refused = refused
        self._allowed_origins = frozenset(allowed_origins)
        self._allowed_pattern = re.compile(origin_regex(self._allowed_origins) or r"(?!)")

    def check(self, request: Request) -> None:
        """Reject an upload that another site's page makes.

        Raises:
            CrossSiteForm: Neither its origin nor the setting allows it.
        """
        site = headers_of(request.scope).value(b"sec-fetch-site")
        if site != b"cross-site" or self._is_accepted(request):
            return
        raise CrossSiteForm(
            "Another site sent this form. Name that site in CORS_ORIGINS, or set REFUSE_CROSS_SITE_FORMS=never."
        )

    def _is_accepted(self, request: Request) -> bool:
        if self._refused == "never" or (self._refused == "private" and not is_on_a_private_network(request.scope)):
            return True
        origin = request.headers.get("origin", "")
        return bool("*" in self._allowed_origins or self._allowed_pattern.fullmatch(origin)) or (
            origin in self._allowed_origins
        )
