"""Clients that send requests without a pause while something is done to the service."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from tests.support.calls import post
from tests.support.service import NO_TLS
from tests.support.traces import eventually

CLIENTS = 4
REQUESTS = 50
"""The number of requests for which `Load.continues` waits."""


class Load:
    """Clients that send GET requests and uploads without a pause, and the results of these requests.

    Args:
        url: The address of the service.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.results: Counter[str] = Counter()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send requests until the block ends."""
        threads = [threading.Thread(target=self._send) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def continues(self) -> bool:
        """Wait until `REQUESTS` more requests have ended; return whether that happens."""
        before = self.results.total()
        return eventually(lambda: self.results.total() >= before + REQUESTS)

    def _send(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30, trust_env=False, verify=NO_TLS) as client:
            while not self._stop.is_set():
                self._note("POST", lambda: post(client))
                for _ in range(3):
                    self._note("GET", lambda: client.get("/recipe?limit=1"))

    def _note(self, method: str, send: Callable[[], httpx.Response]) -> None:
        try:
            result = f"{method} {send().status_code}"
        except httpx.TransportError as error:
            result = f"{method} {error!r}"
        with self._lock:
            self.results[result] += 1
