"""How the settings configure the connection to the bucket."""

from collections.abc import Callable
from typing import Any

import pytest

from recipe_api.settings import Settings
from recipe_api.storage.connection import open_s3_client, signs_payload


@pytest.mark.parametrize(
    ("endpoint", "checksum", "expected"),
    [
        (None, "crc32", False),
        ("https://storage.example.com", "crc32", False),
        ("http://127.0.0.1:8333", "crc32", False),
        ("http://127.8.0.1", "crc32", False),
        ("http://[::1]:8333", "crc32", False),
        ("http://localhost:8333", "crc32", False),
        ("http://storage.example.com", "crc32", True),
        ("http://localhost.example.com", "crc32", True),
        ("http://10.0.0.1:8333", "crc32", True),
        ("http://[fe80::1]:8333", "crc32", True),
        (None, "off", True),
        ("https://storage.example.com", "off", True),
        ("http://127.0.0.1:8333", "off", True),
    ],
)
async def test_a_body_is_signed_unless_something_else_protects_it(
    make_settings: Callable[..., Settings], endpoint: str | None, checksum: str, *, expected: bool
) -> None:
    settings = make_settings(S3_ENDPOINT_URL=endpoint or "", AWS_REGION="eu-central-1", S3_CHECKSUM=checksum)

    assert signs_payload(settings) is expected
    async with open_s3_client(settings) as client:
        config: Any = client.meta.config
        assert config.s3["payload_signing_enabled"] is expected


def test_behind_a_proxy_even_loopback_traffic_is_signed(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings(S3_ENDPOINT_URL="http://127.0.0.1:8333")
    monkeypatch.setenv("http_proxy", "http://proxy.example.com:3128")
    assert signs_payload(settings)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert not signs_payload(settings)
