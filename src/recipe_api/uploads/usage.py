"""Tracks each client's use of its quotas, and rejects uploads that exceed them.

The totals of all processes are in PostgreSQL. An upload must not wait for them, so each process decides by what it
knows: the totals that the database returned with the client's last upload here, and the client's uploads in progress
here. An upload is charged in the commit that inserts its row, which also returns the new totals.

So a process does not know what a client has sent to other processes since its last upload here. Each other process can
therefore accept one upload too many, in addition to those that it has in progress at that time. The excess is only
borrowed: it delays the client's next uploads by as much, so the average rate stays within the quota.

A rejected upload counts, with the bytes that were read, because it cost as much as any other. It has no row that it
could be charged with, so the process adds it to the charge of the client's next row. An upload that failed because of
this service, or repeats an earlier one, does not count.
"""

import hmac
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from math import inf
from typing import Self

from recipe_api.database.client_usage import Charge
from recipe_api.errors import ClientDisconnected, QuotaExceeded, RequestRefused
from recipe_api.quota import Allowance, Quota
from recipe_api.storage.budget import Arrival
from recipe_api.units import duration_in_words, size_in_words

MAX_CLIENTS = 10_000
"""How many clients a process remembers: a few megabytes."""

_PURPOSE = b"recipe_api client usage v1\0"


class _Meter:
    """What one client has used of one quota, in seconds. All times are by the clock of `Usage`."""

    __slots__ = ("in_progress", "restored_at", "unreported_until")

    def __init__(self) -> None:
        self.restored_at = -inf
        """When all usage that this process knows of will be restored."""
        self.in_progress = 0.0
        """What the client's uploads in progress will use."""
        self.unreported_until = -inf
        """When all usage that the database does not know of will be restored."""

    def used(self, now: float) -> float:
        """Return what has been used and is not restored yet."""
        restored_in = self.restored_at - now
        return self.in_progress + restored_in if restored_in > 0 else self.in_progress

    def add(self, amount: float, now: float, *, total: float | None = None) -> None:
        """Add what an upload has used. If the total is known, it includes that."""
        known = max(self.restored_at, now) + amount if total is None else now + total
        self.restored_at = max(self.restored_at, known)  # a total may be older than what is known

    def report_later(self, amount: float, now: float) -> None:
        """Remember an amount that the database does not know of."""
        self.unreported_until = max(self.unreported_until, now) + amount

    def take_unreported(self, now: float) -> float:
        """Return what the database does not know of and is not restored yet, and forget it."""
        amount = self.unreported_until - now
        self.unreported_until = -inf
        return max(amount, 0.0)


class _Account:
    """The usage of one client, as far as this process knows it."""

    __slots__ = ("bytes", "id", "in_progress", "uploads")

    def __init__(self, account_id: int) -> None:
        self.id = account_id
        self.uploads = _Meter()
        self.bytes = _Meter()
        self.in_progress = 0

    def is_restored(self, now: float) -> bool:
        """Return whether the account is as if it were new."""
        return not (self.in_progress or self.uploads.used(now) or self.bytes.used(now))


class Uncounted:
    """An upload that counts towards no quota."""

    __slots__ = ()

    def __enter__(self) -> Self:
        """Begin the upload."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        """End the upload."""

    def charge(self) -> Charge | None:
        """Return the charge for an upload whose row is about to be inserted."""
        return None


UNCOUNTED = Uncounted()


class Usage:
    """The quotas of all clients.

    Args:
        uploads_per_minute: How many uploads each client may send per minute; 0 for no limit.
        bytes_per_day: How many bytes each client may send per day; 0 for no limit.
        secret: The key for the hashes that identify clients in the database.
        now: Returns the time in seconds.
    """

    def __init__(
        self,
        *,
        uploads_per_minute: int,
        bytes_per_day: int,
        secret: bytes,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.uploads = Quota(name="uploads", limit=uploads_per_minute, window_seconds=60)
        self.bytes = Quota(name="bytes", limit=bytes_per_day, window_seconds=86_400, is_of_bytes=True)
        self.is_limited = bool(uploads_per_minute or bytes_per_day)
        """Whether there is any quota."""
        self.now = now
        self._keyed = hmac.new(secret, _PURPOSE, sha256)
        self._accounts: dict[str, _Account] = {}

    @property
    def clients(self) -> int:
        """The number of clients that this process remembers."""
        return len(self._accounts)

    def upload(self, client: str | None, *, size: int | None, arrival: Arrival | None = None) -> Uncounted:
        """Return a context manager that counts an upload towards the quotas of its client.

        Entering it raises `QuotaExceeded` if the upload exceeds one of them.

        Args:
            client: Who sends the upload; None if it does not count.
            size: The size of its body in bytes. If it is unknown, the upload is accepted if any bytes are left.
            arrival: Knows how much of the body has arrived. Without it, the upload counts with its size.
        """
        if client is None or not self.is_limited:
            return UNCOUNTED
        return _CountedUpload(self, self._account(client), size=size, arrival=arrival)

    def allowances(self, client: str | None) -> Sequence[Allowance]:
        """Return what is left of each quota of a client that has used half of one; nothing before that.

        Formatting the fields takes longer than counting, and clients need them only if they may have to slow down.
        """
        if client is None or not self.is_limited:
            return ()
        account, now = self._account(client), self.now()
        if account.uploads.used(now) < self.uploads.half and account.bytes.used(now) < self.bytes.half:
            return ()
        return [quota.allowance(meter.used(now)) for quota, meter in self.limited(account)]

    def limited(self, account: _Account) -> list[tuple[Quota, _Meter]]:
        """Return the quotas that limit an account, with its meters."""
        both = ((self.uploads, account.uploads), (self.bytes, account.bytes))
        return [pair for pair in both if pair[0].limit]

    def _account(self, client: str) -> _Account:
        account = self._accounts.get(client)
        if account is None:
            if len(self._accounts) >= MAX_CLIENTS:
                self._forget_some()
            keyed = self._keyed.copy()
            keyed.update(client.encode())
            account_id = int.from_bytes(keyed.digest()[:8], "big", signed=True)
            account = self._accounts[client] = _Account(account_id)
        return account

    def _forget_some(self) -> None:
        """Forget the clients whose quotas are restored, or else those that were seen first. They may come back."""
        now = self.now()
        kept = {client: account for client, account in self._accounts.items() if not account.is_restored(now)}
        for client in list(kept)[: max(len(kept) - MAX_CLIENTS // 2, 0)]:
            if not kept[client].in_progress:
                del kept[client]
        self._accounts = kept


class _CountedUpload(Uncounted):
    """An upload that counts towards the quotas of its client."""

    __slots__ = ("_account", "_arrival", "_bytes", "_charge", "_size", "_unreported", "_uploads", "_usage")

    def __init__(self, usage: Usage, account: _Account, *, size: int | None, arrival: Arrival | None) -> None:
        self._usage = usage
        self._account = account
        self._size = size
        self._arrival = arrival
        self._uploads = usage.uploads.unit_seconds
        self._bytes = usage.bytes.cost(size or 1)
        self._charge: Charge | None = None
        self._unreported = (0.0, 0.0)

    def __enter__(self) -> Self:
        usage, account = self._usage, self._account
        uploads, size, now = account.uploads, account.bytes, usage.now()
        fits = uploads.used(now) + self._uploads <= usage.uploads.capacity
        if not fits or size.used(now) + self._bytes > usage.bytes.capacity:
            raise self._exceeded(now)
        account.in_progress += 1
        uploads.in_progress += self._uploads
        size.in_progress += self._bytes
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        account, now = self._account, self._usage.now()
        uploads, size = account.uploads, account.bytes
        account.in_progress -= 1
        uploads.in_progress -= self._uploads
        size.in_progress -= self._bytes
        if not account.in_progress:
            uploads.in_progress = size.in_progress = 0.0  # exactly
        charge = self._charge
        if charge is not None and kind is None:
            used = charge.used
            uploads.add(charge.uploads - self._unreported[0], now, total=None if used is None else used.uploads)
            size.add(charge.bytes - self._unreported[1], now, total=None if used is None else used.bytes)
        elif charge is not None:
            uploads.report_later(self._unreported[0], now)
            size.report_later(self._unreported[1], now)
        elif kind is not None and issubclass(kind, (RequestRefused, ClientDisconnected)) and self._received:
            self._count_rejected(now)

    def charge(self) -> Charge:
        """Return the charge for the upload, and for those of its client that the database does not know of."""
        account, now = self._account, self._usage.now()
        uploads, size = self._unreported = account.uploads.take_unreported(now), account.bytes.take_unreported(now)
        received = self._usage.bytes.unit_seconds * self._received
        self._charge = Charge(account.id, self._uploads + uploads, received + size)
        return self._charge

    @property
    def _received(self) -> int:
        return self._size or 0 if self._arrival is None else self._arrival.received

    def _count_rejected(self, now: float) -> None:
        account = self._account
        received = self._usage.bytes.unit_seconds * self._received
        for meter, amount in ((account.uploads, self._uploads), (account.bytes, received)):
            meter.add(amount, now)
            meter.report_later(amount, now)

    def _exceeded(self, now: float) -> QuotaExceeded:
        costs = {self._usage.uploads: self._uploads, self._usage.bytes: self._bytes}
        limited = self._usage.limited(self._account)
        allowances = [quota.allowance(meter.used(now), needed=costs[quota]) for quota, meter in limited]
        longest = max(allowances, key=lambda allowance: allowance.wait_seconds)
        return QuotaExceeded(
            f"{_rule(longest.quota)} Try again in {duration_in_words(longest.wait_seconds)}.",
            allowances=allowances,
            retry_after=longest.wait_seconds,
        )


def _rule(quota: Quota) -> str:
    if quota.is_of_bytes:
        return f"One client may upload {size_in_words(quota.limit)} per day."
    return f"One client may send {quota.limit} upload{'' if quota.limit == 1 else 's'} per minute."
