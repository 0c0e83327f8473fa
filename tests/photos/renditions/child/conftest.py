"""Restores the options of the decoders, which a child process sets for itself."""

import pillow_heif
import pytest
from PIL import AvifImagePlugin


@pytest.fixture(autouse=True)
def decoders_options_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DECODE_THREADS", "THUMBNAILS", "DEPTH_IMAGES", "AUX_IMAGES"):
        monkeypatch.setattr(pillow_heif.options, name, getattr(pillow_heif.options, name))
    monkeypatch.setattr(AvifImagePlugin, "DEFAULT_MAX_THREADS", AvifImagePlugin.DEFAULT_MAX_THREADS)
