"""Who may do what.

A recipe's manage token is an HMAC of its id under `SECRET_KEY`: nothing is stored, and asking again gives the same.
API tokens are named in the settings. All are compared in constant time.
"""

import base64
import hmac
from collections.abc import Mapping
from hashlib import sha256
from uuid import UUID

from pydantic import SecretStr

from recipe_api.errors import TokenRefused, TokenUnknown, TokenWanted

_PURPOSE = b"recipe_api manage token v1\0"


class Tokens:
    """The tokens this service knows; `api_tokens` by name, empty when anyone may upload."""

    def __init__(self, *, secret_key: SecretStr, api_tokens: Mapping[str, SecretStr]) -> None:
        # Copied for each token, which takes half the time of a new one.
        self._keyed = hmac.new(secret_key.get_secret_value().encode(), _PURPOSE, sha256)
        self._api_tokens = {name: token.get_secret_value().encode() for name, token in api_tokens.items()}

    def manage_token(self, recipe_id: UUID) -> str:
        """What whoever uploaded this recipe may rename or delete it with: 43 characters of base64url."""
        token = self._keyed.copy()
        token.update(recipe_id.bytes)
        return base64.urlsafe_b64encode(token.digest()).rstrip(b"=").decode("ascii")

    def authorize_api(self, presented: str | None) -> str | None:
        """Whether the bearer may upload and list; answers the token's name, None where nobody needs one.

        Raises:
            TokenWanted: A token is needed, and none was sent.
            TokenUnknown: The one that was sent is nobody's.
        """
        if not self._api_tokens:
            return None
        if presented is None:
            raise TokenWanted("Send an API token as Authorization: Bearer TOKEN.")
        name = self._name_of(presented)
        if name is None:
            raise TokenUnknown("This API token is not known here.")
        return name

    def authorize_manage(self, presented: str | None, recipe_id: UUID) -> str | None:
        """Whether the bearer may rename and delete this recipe; answers the name of an API token, if it is one.

        Raises:
            TokenWanted: None was sent.
            TokenRefused: This one belongs to another recipe, or to nothing.
        """
        if presented is None:
            raise TokenWanted("Send the recipe's manage_token as Authorization: Bearer TOKEN.")
        manages = hmac.compare_digest(presented.encode(), self.manage_token(recipe_id).encode())
        name = self._name_of(presented)
        if not manages and name is None:
            raise TokenRefused("This token does not manage this recipe.")
        return name

    def _name_of(self, presented: str) -> str | None:
        # Every token is compared, so that the time tells nothing of which one came near.
        found = None
        for name, token in self._api_tokens.items():
            if hmac.compare_digest(presented.encode(), token):
                found = name
        return found
