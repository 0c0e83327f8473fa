"""Credentials that botocore's provider chain finds, reloaded while the service runs.

Every signature, aioboto3's and our own, asks one `ChainCredentials` for its keys. It reloads them

- when a credentials or config file has changed (its modification time, size or inode);
- from 15 minutes before they expire;
- when the store rejects them; the rejected call is then repeated once with the new ones.

As long as the current credentials are valid, no request waits for a reload and none fails because of one. A single
reload runs at a time, for all requests; after one that fails or changes nothing, the next waits, longer each time.

Considerations: botocore's own refreshable credentials raise in the last ten minutes if their provider fails, and ask
it again for every request; its file-based ones are never read again. So each reload builds a new chain, from a new
session, and their own refreshing is switched off. That uses these undocumented parts of aiobotocore, and tests fail if
they change:

- `_advisory_refresh_timeout` and `_mandatory_refresh_timeout` of `AioRefreshableCredentials`;
- the component `credential_provider` of a session, of which only `load_credentials` is called;
- the events `before-sign` and `needs-retry`, and the request's context, a dictionary that they share.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from aiobotocore.session import AioSession, get_session
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError

from recipe_api.observability import RareWarning
from recipe_api.storage.failures import CREDENTIALS_REJECTED, first_line

if TYPE_CHECKING:
    import aioboto3
    from types_aiobotocore_s3.client import S3Client

AHEAD_SECONDS = 15 * 60
"""How long before their expiry credentials are reloaded: botocore's advisory period."""
LOOK_SECONDS = 1
"""The minimum interval between two checks of the files."""
RETRY_SECONDS = 30
"""The wait before the next reload. It doubles after each reload that fails or changes nothing."""
LONGEST_RETRY_SECONDS = 240
"""The limit of this wait."""
EXPIRED_RETRY_SECONDS = 5
"""The wait before the next reload if there are no valid credentials."""
LOAD_SECONDS = 60
"""The timeout of a reload. A `credential_process` that takes longer is abandoned, because aiobotocore cannot end it."""

_GENERATION, _REPEATED = "recipe_api_credentials", "recipe_api_repeated"
_FORBIDDEN = "403"
"""The code that aiobotocore reports for a rejected HEAD request, whose response has no body with S3's own code."""

FileStates = tuple[tuple[int, int, int] | None, ...]

_log = structlog.get_logger(__name__)


class CredentialsUnavailable(CredentialRetrievalError):
    """There are no valid credentials, because a provider failed."""

    fmt = "{reason}"


@dataclass(frozen=True, slots=True)
class _Loaded:
    keys: ReadOnlyCredentials
    source: str
    """The provider's name in botocore."""
    refreshable: AioRefreshableCredentials | None
    """None if they do not expire."""

    def expire_within(self, seconds: int) -> bool:
        return self.refreshable is not None and bool(self.refreshable.refresh_needed(seconds))


class ChainCredentials(AioCredentials):
    """The current credentials of the chain, in the form that botocore's signer accepts.

    Args:
        new_session: Makes a session whose chain has not loaded anything yet.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, new_session: Callable[[], AioSession], *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("", "", method="recipe-api")
        self._new_session = new_session
        self._clock = clock
        self._current: _Loaded | None = None
        self._generation = 0
        self._loading: asyncio.Task[None] | None = None
        self._loaded_at = self._looked_at = float("-inf")
        self._delay = 0.0
        self._failure = ""
        self._warning = RareWarning("loading store credentials failed")
        self._paths = _paths(new_session())
        self._files: FileStates = ()

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:  # type: ignore[override]  # the stubs' is botocore's
        """Return the keys for one signature.

        Raises:
            NoCredentialsError: No provider has credentials.
            CredentialsUnavailable: A provider fails, and there are no credentials, or they have expired.
        """
        if self._is_valid():
            if self._is_due():
                _ = self._begin()
        elif self._loading is not None or self._may_retry():
            await self._load_once()
        if self._current is not None and self._is_valid():
            return self._current.keys
        if self._failure:
            raise CredentialsUnavailable(reason=self._failure)
        raise NoCredentialsError

    @property
    def generation(self) -> int:
        """A number that increases whenever other credentials replace the current ones."""
        return self._generation

    async def replaced(self, generation: int) -> bool:
        """Return whether others have replaced the credentials of `generation`, which the store has rejected."""
        if generation == self._generation and (self._loading or self._files_changed() or self._may_retry()):
            await self._load_once()
        return generation != self._generation

    async def close(self) -> None:
        """End a reload that is in progress."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait({self._loading})

    def _is_valid(self) -> bool:
        return self._current is not None and not self._current.expire_within(0)

    def _is_due(self) -> bool:
        """Return whether to reload credentials that are valid; looks at most once per `LOOK_SECONDS`."""
        now = self._clock()
        if self._loading is not None or now - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = now
        expiring = self._current is not None and self._current.expire_within(AHEAD_SECONDS)
        return self._files_changed() or ((expiring or bool(self._failure)) and self._may_retry())

    def _may_retry(self) -> bool:
        delay = self._delay if self._is_valid() else min(self._delay, EXPIRED_RETRY_SECONDS)
        return self._clock() - self._loaded_at >= delay

    def _files_changed(self) -> bool:
        return self._files != _states(self._paths)

    async def _load_once(self) -> None:
        """Wait for the reload in progress, or for a new one. It continues if its caller is cancelled."""
        await asyncio.wait({self._begin()})

    def _begin(self) -> asyncio.Task[None]:
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        return self._loading

    async def _load(self) -> None:
        self._files = _states(self._paths)  # before it reads them, so that a change meanwhile is noticed
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                loaded = await _loaded(self._new_session())
        except Exception as error:  # noqa: BLE001 - providers can fail in any way: a process may print anything
            self._keep(first_line(error))
        else:
            self._take(loaded)
        finally:
            self._loaded_at = self._clock()
            self._loading = None

    def _take(self, loaded: _Loaded | None) -> None:
        if loaded is None and self._current is not None:
            self._keep("no provider has credentials any more")
            return
        if loaded is None:
            self._back_off()
            self._failure = ""
            return
        former, self._current, self._failure = self._current, loaded, ""
        if former is not None and former.keys == loaded.keys:
            self._back_off()
            return
        self._generation += 1
        self._delay = RETRY_SECONDS
        if former is not None:
            _log.info("store credentials replaced", source=loaded.source)

    def _keep(self, why: str) -> None:
        self._back_off()
        is_valid = self._is_valid()
        state = "cannot be refreshed" if is_valid else "have expired" if self._current else "cannot be loaded"
        self._failure = f"The credentials for the store {state}: {why}"
        self._warning.note(error=why, current_are_valid=is_valid)

    def _back_off(self) -> None:
        self._delay = min(max(2 * self._delay, RETRY_SECONDS), LONGEST_RETRY_SECONDS)


class _Provider:
    """Takes the place of a session's chain of providers."""

    def __init__(self, credentials: ChainCredentials) -> None:
        self._credentials = credentials

    async def load_credentials(self) -> ChainCredentials:
        return self._credentials


def chain_session(*, region: str) -> AioSession:
    """Return a session whose clients sign with `ChainCredentials`.

    Args:
        region: Where roles are assumed.
    """
    session = get_session()
    models = session.get_component("data_loader")  # its cache, so that a reload does not read STS's model again

    def new_session() -> AioSession:
        fresh = get_session()
        fresh.register_component("data_loader", models)
        fresh.set_config_variable("region", region)
        return fresh

    session.register_component("credential_provider", _Provider(ChainCredentials(new_session)))
    return session


@asynccontextmanager
async def reload_credentials(session: "aioboto3.Session", client: "S3Client") -> AsyncIterator[None]:
    """Repeat the client's calls with new credentials if the store rejects the current ones, until the block ends."""
    credentials = await cast("Any", session.get_credentials())  # the stubs do not know that it is awaited
    if not isinstance(credentials, ChainCredentials):
        yield
        return

    def mark(request: Any, **_: object) -> None:  # noqa: ANN401 - botocore's, without a type
        request.context[_GENERATION] = credentials.generation

    async def repeat(request_dict: dict[str, Any], response: Any = None, **_: object) -> int | None:  # noqa: ANN401
        context = request_dict["context"]
        if response is None or context.get(_REPEATED) or not _is_rejection(*response):
            return None
        context[_REPEATED] = True
        return 0 if await credentials.replaced(context[_GENERATION]) else None

    client.meta.events.register("before-sign.s3", mark)
    client.meta.events.register("needs-retry.s3", cast("Any", repeat))  # awaited, which the stubs do not know
    yield


@asynccontextmanager
async def closing_credentials(session: "aioboto3.Session") -> AsyncIterator[None]:
    """When the block ends, stop a reload of the session's credentials if one is in progress."""
    try:
        yield
    finally:
        credentials = await cast("Any", session.get_credentials())
        if isinstance(credentials, ChainCredentials):
            await credentials.close()


def _is_rejection(_: object, parsed: dict[str, Any]) -> bool:
    code = str(parsed.get("Error", {}).get("Code", ""))
    return code in CREDENTIALS_REJECTED or code == _FORBIDDEN


async def _loaded(session: AioSession) -> _Loaded | None:
    found: Any = await session.get_credentials()
    if found is None:
        return None
    can_expire = isinstance(found, AioRefreshableCredentials)
    if can_expire:
        # Else it would ask its provider a second time for what is about to expire, and fail if that fails.
        for period in ("_advisory_refresh_timeout", "_mandatory_refresh_timeout"):
            setattr(found, period, 0)
    return _Loaded(await found.get_frozen_credentials(), found.method, found if can_expire else None)


def _paths(session: AioSession) -> list[Path]:
    names = (session.get_config_variable(name) for name in ("credentials_file", "config_file"))
    return [Path(name).expanduser() for name in names if name]


def _states(paths: list[Path]) -> FileStates:
    return tuple(_state(path) for path in paths)


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
