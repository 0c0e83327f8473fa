"""Reads the metadata of a photo with exiftool, independently of the service (Debian: libimage-exiftool-perl)."""

import json
import subprocess
from typing import Any


def tags(photo: bytes) -> dict[str, Any]:
    """Return the tags of a photo by group and name, such as `GPS:GPSLatitude`."""
    command = ["exiftool", "-json", "-G1", "-a", "-u", "-ee", "-api", "RequestAll=2", "-"]
    listed = subprocess.run(command, input=photo, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(listed.stdout)[0]
    return found
