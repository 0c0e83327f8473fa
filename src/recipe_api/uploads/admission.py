"""Limits how many uploads a process accepts at once, in total and per client.

An upload may take as long as its client needs, within limits, so a few clients that send almost nothing could block
everyone else. Therefore each client has its own limit. When the process is full, a new upload replaces the slowest
one, if that one has had enough time. On shutdown, the process waits for the uploads in progress.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from recipe_api.errors import ServiceFull, TooManyRequests
from recipe_api.storage.budget import Arrival


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientContext:
    """Who sends an upload, and how it arrives."""

    identities: tuple[str, ...] = ()
    """What the upload counts against: the client's address and the name of its token."""
    arrival: Arrival | None = None
    """None if the speed is unknown. Such an upload is never given up."""
    account: str | None = None
    """The client whose quotas the upload counts towards; None if there is none, or if the upload was counted before."""


class Admission:
    """Counts the uploads in progress.

    Args:
        limit: The maximum number of concurrent uploads.
        per_client: The maximum for one address or one token; ignored unless it is less than `limit`.
    """

    def __init__(self, limit: int, *, per_client: int) -> None:
        self.limit = limit
        self._per_client = per_client
        self._slots: dict[_Slot, None] = {}  # the oldest first
        self._slots_of: defaultdict[str, int] = defaultdict(int)
        self.in_progress = 0
        """Uploads in progress, including those that were given up and are being undone."""
        self._idle = asyncio.Event()
        self._idle.set()

    def slot(self, client: ClientContext) -> "_Slot":
        """Return a context manager that admits an upload for as long as its block lasts.

        Raises:
            TooManyRequests: The client already has the maximum number of uploads in progress.
            ServiceFull: All slots are taken, and none of the uploads in progress is slow.
        """
        return _Slot(self, client)

    async def idle(self) -> None:
        """Wait until no upload is in progress, including the cleanup after uploads that were given up."""
        await self._idle.wait()

    def begin(self, slot: "_Slot") -> None:
        """Take a slot, which may have to be that of the slowest upload."""
        if self._per_client < self.limit:
            self._check_client_limit(slot.client)
        if len(self._slots) >= self.limit:
            self._give_up_slowest()
        self._slots[slot] = None
        for identity in slot.client.identities:
            self._slots_of[identity] += 1
        self.in_progress += 1
        self._idle.clear()

    def end(self, slot: "_Slot") -> None:
        """Release the slot of an upload, unless it was given up, and note that it has ended."""
        if slot in self._slots:
            self._release(slot)
        self.in_progress -= 1
        if not self.in_progress:
            self._idle.set()

    def _check_client_limit(self, client: ClientContext) -> None:
        for identity in client.identities:
            if self._slots_of.get(identity, 0) >= self._per_client:
                raise TooManyRequests(
                    f"One client may have {self._per_client} uploads in progress. Wait until one of them has ended."
                )

    def _give_up_slowest(self) -> None:
        arrivals = {slot: slot.client.arrival for slot in self._slots if slot.client.arrival}
        slow = {slot: arrival.bytes_per_second for slot, arrival in arrivals.items() if arrival.is_slow}
        if not slow:
            raise ServiceFull(f"{self.limit} uploads are already in progress. Try again in a moment.")
        slowest = min(slow, key=slow.__getitem__)
        self._release(slowest)  # now, because the cleanup of that upload takes a moment
        arrivals[slowest].give_up()

    def _release(self, slot: "_Slot") -> None:
        del self._slots[slot]
        for identity in slot.client.identities:
            self._slots_of[identity] -= 1
            if not self._slots_of[identity]:
                del self._slots_of[identity]


class _Slot:
    """An upload in progress. `contextlib.contextmanager` would take three times as long."""

    __slots__ = ("_admission", "client")

    def __init__(self, admission: Admission, client: ClientContext) -> None:
        self._admission = admission
        self.client = client

    def __enter__(self) -> None:
        self._admission.begin(self)

    def __exit__(self, *_: object) -> None:
        self._admission.end(self)
