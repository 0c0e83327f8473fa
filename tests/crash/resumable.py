"""tus uploads that resume after each kill of the server, until their recipe exists."""

import random
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

_TUS = {"Tus-Resumable": "1.0.0"}
_BODY = _TUS | {"Content-Type": "application/offset+octet-stream"}
_LATER = {409, 423, 503}
_PAUSE_SECONDS = 0.05
Send = Callable[[Callable[[], httpx.Response]], httpx.Response | None]
"""Sends a request, and returns its response or None if it was lost."""


class Lost(Exception):
    """The server has lost an upload, or bytes that it had acknowledged."""


@dataclass(slots=True)
class ResumableUpload:
    """A photo that is sent in chunks of random sizes.

    Args:
        client: Sends its requests.
        send: Sends a request, and counts its response.
        chance: The source of the chunks' sizes.
        photo: The photo.
        label: Its label.
    """

    client: httpx.Client
    send: Send
    chance: random.Random
    photo: bytes
    label: str
    url: str = ""
    """The upload's URL, once it was created."""
    acknowledged: int = 0
    """How many bytes the server has acknowledged."""

    def begin(self) -> bool:
        """Create the upload; return False if the response was lost or an error."""
        name = b64encode(b"photo.jpg").decode()
        headers = _TUS | {"Upload-Length": str(len(self.photo)), "Upload-Metadata": f"filename {name}"}
        response = self.send(lambda: self.client.post("/uploads", headers=headers))
        if response is None or response.status_code != 201:
            return False
        self.url = response.headers["Location"]
        return True

    def advance(self) -> dict[str, Any] | None:
        """Send a chunk or, after the last one, complete the upload. Return its recipe once it exists.

        Raises:
            Lost: The upload is gone, or lacks bytes that it had.
        """
        offset = self.offset()
        if offset is None:
            return None
        while offset < len(self.photo):
            sent = self._append(offset)
            if sent is None:
                return None
            offset = self.acknowledged = sent
        return self._complete()

    def offset(self) -> int | None:
        """Return the offset to resume at; None if there is no response.

        Raises:
            Lost: The upload is gone, or lacks bytes that it had.
        """
        if self.acknowledged == len(self.photo):  # it may have been completed, and then it is gone
            return self.acknowledged
        response = self.send(lambda: self.client.head(self.url, headers=_TUS))
        if response is None or response.status_code in _LATER:
            time.sleep(_PAUSE_SECONDS)
            return None
        offset = int(response.headers.get("Upload-Offset", -1))
        if offset < self.acknowledged:
            raise Lost(f"{self.label} had {self.acknowledged} bytes, and now {response.status_code} and {offset}")
        self.acknowledged = offset
        return offset

    def _append(self, offset: int) -> int | None:
        rest = self.photo[offset:]
        chunk = rest[: self.chance.randint(1, len(rest))]
        headers = _BODY | {"Upload-Offset": str(offset)}
        response = self.send(lambda: self.client.patch(self.url, content=chunk, headers=headers))
        if response is None or response.status_code != 204:
            return None
        return int(response.headers["Upload-Offset"])

    def _complete(self) -> dict[str, Any] | None:
        body = {"upload": self.url.rpartition("/")[2], "label": self.label}
        response = self.send(lambda: self.client.post("/recipe", json=body))
        if response is not None and response.status_code in {404, 410}:
            raise Lost(f"{self.label} was complete, and now {response.status_code}")
        recipe: dict[str, Any] | None = response.json() if response and response.status_code == 201 else None
        return recipe
