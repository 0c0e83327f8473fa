"""Uploads in progress when the service stops."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from recipe_api.settings import PART_SIZE, Settings
from tests.support.forms import HEADER, jpeg, recipe_form
from tests.support.service import running
from tests.support.traces import Backstage, eventually
from tests.support.wire import request

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("sent", [300, 2 * PART_SIZE], ids=lambda sent: f"after {sent} bytes")
def test_an_upload_that_does_not_end_within_the_grace_period_leaves_nothing(
    make_settings: Callable[..., Settings], backstage: Backstage, http_protocol: str, sent: int
) -> None:
    body = recipe_form(jpeg(3 * PART_SIZE))

    with ExitStack() as clients:
        with running(make_settings(HTTP_PROTOCOL=http_protocol), timeout_graceful_shutdown=1) as service:
            wire = clients.enter_context(service.connect())
            wire.send(request("/recipe", body[:sent], HEADER, length=len(body)))
            if sent > PART_SIZE:
                assert eventually(lambda: len(backstage.multipart_uploads()) == 1)

        # The service has stopped, and its client is still there.
        assert backstage.nothing_is_left()
