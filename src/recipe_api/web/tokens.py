"""Tokens: API tokens for uploading and listing, manage tokens for renaming and deleting a recipe.

A recipe's manage token is an HMAC of its id under the first `SECRET_KEY`, so it is not stored, and a replayed upload
returns the same one. Tokens made under the other keys stay valid. API tokens are named in the settings. All tokens are
compared in constant time.
"""

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from pydantic import SecretStr

from recipe_api.errors import PermissionDenied, TokenRequired, UnknownToken
from recipe_api.settings import ApiToken

_PURPOSE = b"recipe_api manage token v1\0"


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that may upload and list."""

    name: str | None = None
    """The name of its API token, if the service requires one."""
    manages_all: bool = False
    """Whether it may rename and delete every recipe."""


ANYONE = Caller()


class Tokens:
    """All tokens of this service.

    Args:
        secret_keys: The first signs manage tokens, all verify them.
        api_tokens: By name; empty if anyone may upload.
    """

    def __init__(self, *, secret_keys: Sequence[SecretStr], api_tokens: Mapping[str, ApiToken]) -> None:
        # Each token copies one of these, which takes half the time of creating one.
        self._keyed = [hmac.new(key.get_secret_value().encode(), _PURPOSE, sha256) for key in secret_keys]
        self._callers = {
            found.token.get_secret_value().encode(): Caller(name, manages_all=not found.upload_only)
            for name, found in api_tokens.items()
        }

    def manage_token(self, recipe_id: UUID) -> str:
        """Return the token that permits renaming and deleting this recipe: 43 characters of base64url."""
        return _manage_token(self._keyed[0], recipe_id)

    def authorize_api(self, presented: str | None) -> Caller:
        """Return who may upload and list with this token.

        Raises:
            TokenRequired: A token is required, and none was sent.
            UnknownToken: The token is not an API token of this service.
        """
        if not self._callers:
            return ANYONE
        if presented is None:
            raise TokenRequired("Send an API token as Authorization: Bearer TOKEN.")
        caller = self._caller(presented)
        if caller is None:
            raise UnknownToken("The service does not know this API token. Check it and send it again.")
        return caller

    def authorize_manage(self, presented: str | None, recipe_id: UUID) -> str | None:
        """Check that this token permits renaming and deleting a recipe; return its name if it is an API token.

        Raises:
            TokenRequired: No token was sent.
            PermissionDenied: It is another recipe's token, an API token for uploads only, or unknown.
        """
        if presented is None:
            raise TokenRequired("Send the recipe's manage_token as Authorization: Bearer TOKEN.")
        manages = [
            hmac.compare_digest(presented.encode(), _manage_token(keyed, recipe_id).encode()) for keyed in self._keyed
        ]
        caller = self._caller(presented)
        if any(manages):
            return None
        if caller is None:
            raise PermissionDenied("This token does not manage this recipe. Send the recipe's manage_token.")
        if not caller.manages_all:
            raise PermissionDenied("This API token permits uploading and listing only. Send the recipe's manage_token.")
        return caller.name

    def _caller(self, presented: str) -> Caller | None:
        # Every token is compared, so that the time does not depend on which one matches.
        found = None
        for token, caller in self._callers.items():
            if hmac.compare_digest(presented.encode(), token):
                found = caller
        return found


def _manage_token(keyed: hmac.HMAC, recipe_id: UUID) -> str:
    token = keyed.copy()
    token.update(recipe_id.bytes)
    return base64.urlsafe_b64encode(token.digest()).rstrip(b"=").decode("ascii")
