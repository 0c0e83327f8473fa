"""Tests in a browser that is not installed are skipped, and the reason names what to install."""

from pathlib import Path

import pytest

from tests.support.browsers.firefox import firefox
from tests.support.browsers.webkit import webkit


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


async def test_firefox_is_named() -> None:
    with pytest.raises(pytest.skip.Exception, match="firefox-esr is not installed"):
        async with firefox():
            pass


async def test_webkit_is_named() -> None:
    with pytest.raises(pytest.skip.Exception, match="webkit2gtk-driver xvfb is not installed"):
        async with webkit():
            pass
