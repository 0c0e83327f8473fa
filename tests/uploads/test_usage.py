"""What counts towards a client's quotas in one process, by a clock that the tests set."""

from dataclasses import dataclass

import pytest

from recipe_api.database.client_usage import Charge, Used
from recipe_api.errors import ClientDisconnected, MalformedBody, QuotaExceeded, StorageUnavailable
from recipe_api.uploads import usage as module
from recipe_api.uploads.usage import Usage

CLIENT, OTHER = "address 192.0.2.1", "address 192.0.2.2"
DAY = 86_400


@dataclass
class Clock:
    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Body:
    """A body of which some bytes have arrived."""

    received: int = 0
    is_slow: bool = False
    bytes_per_second: float = 0.0

    def give_up(self) -> None:
        raise AssertionError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def usage(clock: Clock) -> Usage:
    return Usage(uploads_per_minute=3, bytes_per_day=DAY, secret=b"tests only", now=clock)


def upload(
    usage: Usage,
    size: int = 1,
    *,
    client: str = CLIENT,
    error: Exception | None = None,
    total: Used | None = None,
    is_charged: bool = True,
) -> Charge | None:
    """Send an upload that ends with an error, or is charged, and return the charge."""
    charge = None
    try:
        with usage.upload(client, size=size, arrival=Body(received=size)) as count:
            charge = count.charge() if is_charged else None
            if charge is not None:
                charge.used = total
            if error is not None:
                raise error
    except (ClientDisconnected, MalformedBody, StorageUnavailable):
        pass
    return charge


def exceeds(usage: Usage, size: int | None = 1, *, client: str = CLIENT) -> QuotaExceeded | None:
    """Return the error of an upload; None if it would be accepted."""
    try:
        with usage.upload(client, size=size, arrival=Body()):
            return None
    except QuotaExceeded as error:
        return error


def test_a_client_may_use_its_whole_quota_at_once_and_then_what_is_restored(usage: Usage, clock: Clock) -> None:
    for _ in range(3):
        upload(usage)

    refused = exceeds(usage)
    assert refused is not None
    assert (refused.retry_after, [(each.left, each.wait_seconds) for each in refused.allowances]) == (
        20,
        [(0, 20), (DAY - 3, 0)],
    )
    assert exceeds(usage, client=OTHER) is None

    clock.seconds += 19
    assert exceeds(usage) is not None
    clock.seconds += 1
    upload(usage)
    assert exceeds(usage) is not None, "only one upload should have been restored"
    clock.seconds += 3600
    for _ in range(3):
        upload(usage)
    assert exceeds(usage) is not None, "an hour should restore no more than the quota"


def test_bytes_are_restored_within_a_day(usage: Usage, clock: Clock) -> None:
    upload(usage, DAY - 100)

    refused = exceeds(usage, 200)
    assert refused is not None
    assert "Try again in 100 seconds." in refused.detail
    assert refused.allowances[1][1:] == (100, 100)
    assert exceeds(usage, 100) is None
    assert exceeds(usage, None) is None, "a body of unknown size should be accepted while any bytes are left"
    upload(usage, 100)
    assert exceeds(usage, None) is not None
    clock.seconds += DAY
    assert exceeds(usage, DAY + 100) is None, "the parts of a form other than the photo should not count"


def test_uploads_in_progress_count_until_they_end(usage: Usage) -> None:
    with usage.upload(CLIENT, size=DAY - 10, arrival=Body()):
        assert exceeds(usage, 20) is not None
        assert exceeds(usage, 10) is None
        with usage.upload(CLIENT, size=1, arrival=Body()), usage.upload(CLIENT, size=1, arrival=Body()):
            assert exceeds(usage, 1) is not None, "three uploads in progress should count"
    assert exceeds(usage, DAY) is None


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (MalformedBody("x"), True),
        (ClientDisconnected("x"), True),
        (StorageUnavailable("x"), False),
        (None, False),  # a replay: it ends well, and was never charged
    ],
)
def test_rejected_uploads_count_and_those_that_failed_here_or_are_replays_do_not(
    usage: Usage, clock: Clock, error: Exception | None, *, counts: bool
) -> None:
    for _ in range(3):
        upload(usage, 10, error=error, is_charged=False)

    assert (exceeds(usage) is not None) is counts
    clock.seconds += 40  # two of three uploads are restored, and 40 bytes
    charge = upload(usage, 5)
    assert charge is not None
    assert charge.uploads == pytest.approx(40 if counts else 20)
    assert charge.bytes == pytest.approx(5)
    charge = upload(usage, 5)
    assert charge is not None
    assert charge.uploads == pytest.approx(20), "what was rejected should be charged once"


def test_an_upload_that_is_rejected_before_its_body_is_read_does_not_count(usage: Usage) -> None:
    for _ in range(4):
        with pytest.raises(MalformedBody), usage.upload(CLIENT, size=10, arrival=Body(received=0)):
            raise MalformedBody("x")
    assert exceeds(usage) is None


def test_what_was_rejected_is_charged_later_if_the_row_could_not_be_inserted(usage: Usage) -> None:
    upload(usage, 10, error=MalformedBody("x"), is_charged=False)
    upload(usage, 10, error=StorageUnavailable("x"), is_charged=True)

    charge = upload(usage, 10)
    assert charge is not None
    assert (charge.uploads, charge.bytes) == (40, 20)


def test_the_totals_of_all_processes_replace_what_this_one_knew(usage: Usage, clock: Clock) -> None:
    upload(usage, total=Used(uploads=60.0, bytes=5.0))
    refused = exceeds(usage)
    assert refused is not None
    assert refused.retry_after == 20

    clock.seconds += 20
    upload(usage, total=Used(uploads=20.0, bytes=0.0))  # of an earlier statement, which took longer
    upload(usage)
    assert exceeds(usage) is not None


def test_the_client_is_told_its_quotas_once_it_has_used_half_of_one(usage: Usage) -> None:
    upload(usage)
    assert usage.allowances(CLIENT) == ()
    upload(usage)
    assert [(each.left, each.wait_seconds) for each in usage.allowances(CLIENT)] == [(1, 0), (DAY - 2, 0)]
    upload(usage)
    assert [(each.left, each.wait_seconds) for each in usage.allowances(CLIENT)] == [(0, 20), (DAY - 3, 0)]


@pytest.mark.parametrize(("uploads", "size"), [(0, DAY), (3, 0), (0, 0)])
def test_a_quota_of_zero_limits_nothing(clock: Clock, uploads: int, size: int) -> None:
    usage = Usage(uploads_per_minute=uploads, bytes_per_day=size, secret=b"tests only", now=clock)
    for _ in range(3):
        upload(usage, DAY // 3)

    assert (exceeds(usage) is None) is (not uploads and not size)
    assert len(usage.allowances(CLIENT)) == bool(uploads) + bool(size)
    clock.seconds += DAY
    assert (exceeds(usage, 2 * DAY) is None) is True


def test_fractions_of_seconds_do_not_add_up_to_a_rejection(clock: Clock) -> None:
    usage = Usage(uploads_per_minute=7, bytes_per_day=0, secret=b"tests only", now=clock)
    for _ in range(7):
        upload(usage)
    assert exceeds(usage) is not None


def test_the_number_of_clients_that_a_process_remembers_is_limited(
    usage: Usage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CLIENTS", 10)
    for number in range(3):
        upload(usage, client=f"restored {number}")
    clock.seconds += 60
    with usage.upload("in progress", size=1, arrival=Body()):
        for number in range(20):
            upload(usage, client=f"address {number}")
        for _ in range(2):
            upload(usage, client="in progress")
        assert exceeds(usage, client="in progress") is not None

    assert usage.clients <= 10


def test_clients_are_identified_by_hashes_that_need_the_secret(usage: Usage) -> None:
    other = Usage(uploads_per_minute=3, bytes_per_day=0, secret=b"other")
    ids = [charge.client for charge in (upload(usage), upload(usage, client=OTHER), upload(other)) if charge]
    assert len(set(ids)) == 3
