"""`Fallback` with both writers and scripted servers: what is known about the effect of an operation."""

from collections.abc import Callable

import pytest

from recipe_api.errors import StorageUnavailable
from recipe_api.settings import Settings
from recipe_api.storage.body import Body
from recipe_api.storage.connection import open_s3_store
from tests.support.scripted import HOST, Peer, Script, serving
from tests.support.store import ATTRIBUTES

NO_ETAG = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
REJECTION = b"<Error><Code>AccessDenied</Code><Message>a test rejects this</Message></Error>"
FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(REJECTION), REJECTION)


async def unreadable(peer: Peer) -> None:
    await peer.respond(NO_ETAG)
    await peer.hung_up()


async def rejecting(peer: Peer) -> None:
    await peer.head()  # not the body: aioboto3 waits for "100 Continue" before it sends that
    await peer.say(FORBIDDEN)
    await peer.hung_up()


@pytest.mark.parametrize(("first", "had_no_effect"), [(unreadable, False), (rejecting, True)])
async def test_a_rejected_write_had_no_effect_unless_the_fast_writer_got_an_unreadable_success(
    make_settings: Callable[..., Settings], *, first: Script, had_no_effect: bool
) -> None:
    async with serving(first, rejecting) as server:
        settings = make_settings(S3_ENDPOINT_URL=f"http://{HOST}:{server.port}")
        async with open_s3_store(settings) as (store, _):
            with pytest.raises(StorageUnavailable) as raised:
                await store.put("a.jpg", Body(b"a photo"), ATTRIBUTES)

    assert raised.value.had_no_effect is had_no_effect
