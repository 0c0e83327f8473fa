"""Credentials that change while the service runs, found by botocore's own providers, and a store that checks them."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import NoCredentialsError
from structlog.testing import capture_logs

from recipe_api import observability
from recipe_api.diagnosis.checks import Verdict
from recipe_api.errors import StorageUnavailable
from recipe_api.settings import Settings
from recipe_api.storage import credentials as module
from recipe_api.storage.body import Body
from recipe_api.storage.bucket.doctor import Doctor
from recipe_api.storage.connection import open_s3_store
from recipe_api.storage.credentials import ChainCredentials, CredentialsUnavailable
from recipe_api.storage.s3 import S3Store
from tests.support.amazon import Amazon, Refusal, amazon_running
from tests.support.log import lines_logged
from tests.support.store import ATTRIBUTES, Seen

pytestmark = pytest.mark.slow

PROGRAM = """\
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
with (folder / "runs").open("a") as runs:
    runs.write("x")
if not (folder / "answer").exists():
    sys.exit("the vault is sealed")
print((folder / "answer").read_text())
"""
NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
WHERE: Any = {"LocationConstraint": "eu-central-1"}
ASSUME_ROLE = "POST bucket"
"""How the test's store names a call to STS."""
IN_TEN_MINUTES, IN_AN_HOUR, EXPIRED = timedelta(minutes=9), timedelta(hours=1), timedelta(minutes=-1)


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Home:
    """The files of a person or a machine: `credentials`, `config`, and a program that prints credentials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.credentials, self.config = folder / "credentials", folder / "config"
        (folder / "program.py").write_text(PROGRAM)

    def write(self, key: str, secret: str) -> None:
        """Replace the credentials file, as tools that rotate keys do."""
        written = self.folder / "written"
        written.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        written.replace(self.credentials)

    def use_program(self) -> None:
        command = f"{sys.executable} {self.folder / 'program.py'} {self.folder}"
        self.config.write_text(f"[default]\ncredential_process = {command}\n")

    def print(self, key: str, secret: str, *, valid: timedelta | None) -> None:
        """Let the program print these credentials from now on."""
        printed = {"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret}
        expiry = {} if valid is None else {"Expiration": (datetime.now(UTC) + valid).isoformat()}
        (self.folder / "answer").write_text(json.dumps(printed | expiry))

    def fail(self) -> None:
        """Let the program fail from now on."""
        (self.folder / "answer").unlink(missing_ok=True)

    @property
    def runs(self) -> int:
        """How often the program has run."""
        return len((self.folder / "runs").read_text()) if (self.folder / "runs").exists() else 0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = Home(tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(made.credentials))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(made.config))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return made


@pytest.fixture
def right(make_settings: Callable[..., Settings]) -> tuple[str, str]:
    """The key and the secret that the store accepts."""
    settings = make_settings()
    assert settings.aws_access_key_id is not None
    assert settings.aws_secret_access_key is not None
    return settings.aws_access_key_id.get_secret_value(), settings.aws_secret_access_key.get_secret_value()


@pytest.fixture
def from_chain(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(**NO_KEYS)


@pytest.fixture
async def chained(from_chain: Settings, home: Home, seen: Seen) -> AsyncIterator[S3Store]:
    """A store whose credentials come from a file, in which they are wrong at first."""
    await seen.clear()
    home.write("nobody", "nothing")
    async with open_s3_store(from_chain) as (store, _):
        with pytest.raises(StorageUnavailable):
            await store.check()
        yield store


@pytest.fixture
async def programmed(from_chain: Settings, home: Home, seen: Seen, right: tuple[str, str]) -> AsyncIterator[S3Store]:
    """A store whose credentials come from the program and are about to expire."""
    await seen.clear()
    home.use_program()
    home.print(*right, valid=IN_TEN_MINUTES)
    async with open_s3_store(from_chain) as (store, _):
        await store.check()
        yield store


class Chain:
    """Credentials of the files, with a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._others = asyncio.all_tasks()
        self.credentials = ChainCredentials(self._session, clock=self.clock)

    @staticmethod
    def _session() -> AioSession:
        session = get_session()
        session.set_config_variable("region", "eu-central-1")
        return session

    async def key(self) -> str:
        return str((await self.credentials.get_frozen_credentials()).access_key)

    async def settled(self) -> None:
        """Wait for a reload in progress."""
        if reloads := asyncio.all_tasks() - self._others - {asyncio.current_task()}:
            await asyncio.wait(reloads)


@pytest.fixture
async def chain(home: Home, monkeypatch: pytest.MonkeyPatch) -> Chain:  # noqa: ARG001 - its environment
    monkeypatch.setattr(observability, "MIN_INTERVAL_SECONDS", 3600)
    return Chain()


def warnings(lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["log_level"] == "warning"]


async def rejected(store: S3Store) -> None:
    """Return when the store rejects the credentials in use."""
    with contextlib.suppress(StorageUnavailable):
        while True:
            await store.check()


class TestAStoreThatRejects:
    async def test_gets_the_keys_of_a_replaced_file_without_a_restart(
        self, chained: S3Store, home: Home, right: tuple[str, str], seen: Seen
    ) -> None:
        home.write(*right)

        await chained.put("a.jpg", Body(b"a photo"), ATTRIBUTES)

        assert await seen.body("a.jpg") == b"a photo"

    async def test_gets_them_for_a_call_whose_rejection_has_no_code(
        self, chained: S3Store, home: Home, right: tuple[str, str]
    ) -> None:
        home.write(*right)

        await chained.check()

    async def test_gets_them_from_a_program_that_reports_no_expiry(
        self, programmed: S3Store, home: Home, right: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "RETRY_SECONDS", 0)
        home.print("nobody", "nothing", valid=None)
        home.config.touch()
        await rejected(programmed)
        home.print(*right, valid=None)

        await programmed.put("a.jpg", Body(b"a photo"), ATTRIBUTES)
        await programmed.check()

    async def test_gets_a_part_and_the_completion_of_an_upload_begun_with_former_ones(
        self, chained: S3Store, home: Home, right: tuple[str, str], seen: Seen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "LOOK_SECONDS", 0)
        home.write(*right)
        upload = await chained.create_upload("a.jpg", ATTRIBUTES)
        home.write("nobody", "nothing")
        await rejected(chained)
        home.write(*right)
        part = await chained.put_part(upload, 1, Body(b"a photo"))
        home.write("nobody", "nothing")
        await rejected(chained)
        home.write(*right)
        await chained.complete_upload(upload, [part])

        assert await seen.body("a.jpg") == b"a photo"

    async def test_does_not_make_every_call_reload(self, from_chain: Settings, home: Home) -> None:
        home.use_program()
        home.print("nobody", "nothing", valid=None)
        async with open_s3_store(from_chain) as (store, _):
            for call in range(8):
                with pytest.raises(StorageUnavailable):
                    await store.put(f"{call}.jpg", Body(b"a photo"), ATTRIBUTES)

        assert home.runs == 1


class TestAProgramThatFails:
    async def test_does_not_fail_uploads_while_its_last_credentials_are_valid(
        self, programmed: S3Store, home: Home
    ) -> None:
        home.fail()

        with capture_logs() as lines:
            for number in range(20):
                await programmed.put(f"{number}.jpg", Body(b"a photo"), ATTRIBUTES)

        assert home.runs <= 2
        assert len(warnings(lines)) <= 1

    async def test_is_a_clear_failure_once_they_have_expired(self, from_chain: Settings, home: Home) -> None:
        home.use_program()
        async with open_s3_store(from_chain) as (store, _):
            with pytest.raises(StorageUnavailable) as raised:
                await store.put("a.jpg", Body(b"a photo"), ATTRIBUTES)

        assert "the vault is sealed" in raised.value.reason
        assert "AWS_PROFILE" in raised.value.reason
        assert raised.value.had_no_effect

    async def test_is_what_the_doctor_reports(self, from_chain: Settings, home: Home) -> None:
        home.use_program()

        found = {result.check: result async for result in Doctor(from_chain).examine()}

        assert found["credentials"].verdict is Verdict.FAIL
        assert "the vault is sealed" in found["credentials"].detail

    async def test_is_left_alone_for_longer_each_time(self, chain: Chain, home: Home) -> None:
        home.use_program()
        home.print("first", "secret", valid=IN_TEN_MINUTES)
        assert await chain.key() == "first"
        home.fail()
        runs = []
        with capture_logs() as lines:
            for _ in range(600):
                chain.clock.now += 1
                assert await chain.key() == "first"
                await chain.settled()
                runs.append(home.runs)

        waits = [second for second in range(1, 600) if runs[second] > runs[second - 1]]
        assert waits == [29, 89, 209, 449]  # after 30 seconds, then 60, 120 and 240
        assert [line["error"] for line in warnings(lines)] == [
            "Error when retrieving credentials from custom-process: the vault is sealed"
        ]

    async def test_runs_sooner_if_no_valid_credentials_are_left(self, chain: Chain, home: Home) -> None:
        home.use_program()
        with capture_logs() as lines:
            for _ in range(60):
                with pytest.raises(CredentialsUnavailable, match="the vault is sealed"):
                    await chain.key()
                chain.clock.now += 1

        assert home.runs == 12  # every five seconds while there are none
        assert len(warnings(lines)) == 1

    async def test_runs_once_for_all_waiting_requests(self, chain: Chain, home: Home) -> None:
        home.use_program()

        results = await asyncio.gather(*(chain.key() for _ in range(50)), return_exceptions=True)

        assert {type(result) for result in results} == {CredentialsUnavailable}
        assert home.runs == 1

    async def test_is_used_again_when_it_works_again(self, chain: Chain, home: Home) -> None:
        home.use_program()
        home.print("first", "secret", valid=IN_TEN_MINUTES)
        await chain.key()
        home.print("second", "secret", valid=IN_AN_HOUR)
        chain.clock.now += module.RETRY_SECONDS

        assert await chain.key() == "first"  # no request waits for credentials that are not needed yet
        await chain.settled()
        assert await chain.key() == "second"
        chain.clock.now += 3600
        assert await chain.key() == "second"
        assert home.runs == 2

    @pytest.mark.parametrize("printed", ["", "[]", "{}", '{"Version": 1}', '{"Version": 2}', "not JSON"])
    async def test_may_print_anything(self, chain: Chain, home: Home, printed: str) -> None:
        home.use_program()
        (home.folder / "answer").write_text(printed)

        with pytest.raises(CredentialsUnavailable):
            await chain.key()

    async def test_may_print_what_has_expired(self, chain: Chain, home: Home) -> None:
        home.use_program()
        home.print("first", "secret", valid=EXPIRED)

        with pytest.raises(CredentialsUnavailable, match="expired"):
            await chain.key()


class TestFiles:
    async def test_are_read_again_when_they_change(self, chain: Chain, home: Home) -> None:
        home.write("first", "secret")
        assert await chain.key() == "first"
        home.write("second", "secret")
        with capture_logs() as lines:
            chain.clock.now += module.LOOK_SECONDS
            await chain.key()
            await chain.settled()

            assert await chain.key() == "second"
        assert [(line["event"], line["source"]) for line in lines] == [
            ("store credentials replaced", "shared-credentials-file")
        ]

    async def test_that_disappear_leave_the_credentials_in_use(self, chain: Chain, home: Home) -> None:
        home.write("first", "secret")
        await chain.key()
        home.credentials.unlink()
        with capture_logs() as lines:
            chain.clock.now += module.LOOK_SECONDS
            await chain.key()
            await chain.settled()

            assert await chain.key() == "first"
        assert [line["error"] for line in warnings(lines)] == ["no provider has credentials any more"]

    async def test_may_be_created_later(self, chain: Chain, home: Home) -> None:
        with pytest.raises(NoCredentialsError):
            await chain.key()
        home.write("first", "secret")
        with pytest.raises(NoCredentialsError):
            await chain.key()
        chain.clock.now += module.EXPIRED_RETRY_SECONDS

        assert await chain.key() == "first"


class TestRejectedCredentials:
    async def test_are_reloaded_though_no_file_has_changed(self, chain: Chain, home: Home) -> None:
        home.use_program()
        home.print("first", "secret", valid=None)
        await chain.key()
        home.print("second", "secret", valid=None)
        rejected = chain.credentials.generation

        assert not await chain.credentials.replaced(rejected)
        chain.clock.now += module.RETRY_SECONDS
        assert await chain.credentials.replaced(rejected)
        assert await chain.credentials.replaced(rejected)  # by another call that was signed with the former ones
        assert await chain.key() == "second"
        assert home.runs == 2


class TestRoles:
    @pytest.fixture
    def amazon(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
        home.credentials.write_text("[base]\naws_access_key_id = first\naws_secret_access_key = secret\n")
        home.config.write_text("[profile photos]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n")
        monkeypatch.setenv("AWS_PROFILE", "photos")
        with amazon_running() as running:
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", running.url)
            yield running

    async def test_are_assumed_once_for_many_calls(
        self, amazon: Amazon, make_settings: Callable[..., Settings]
    ) -> None:
        async with open_s3_store(make_settings(**amazon.environment("roles", **NO_KEYS))) as (store, client):
            await client.create_bucket(Bucket="roles", CreateBucketConfiguration=WHERE)
            await store.put("a.jpg", Body(b"a photo"), ATTRIBUTES)
            await store.put("b.jpg", Body(b"a photo"), ATTRIBUTES)

        assert amazon.odd.calls == [ASSUME_ROLE, "PUT bucket", "PUT object", "PUT object"]

    async def test_that_cannot_be_assumed_are_one_line_in_the_log(
        self, amazon: Amazon, make_settings: Callable[..., Settings]
    ) -> None:
        amazon.odd.refused[ASSUME_ROLE] = Refusal(status="403 Forbidden", code="AccessDenied")
        async with open_s3_store(make_settings(**amazon.environment("roles", **NO_KEYS))) as (store, _):
            with lines_logged() as lines, pytest.raises(StorageUnavailable) as raised:
                await store.put("a.jpg", Body(b"a photo"), ATTRIBUTES)

        assert "AssumeRole" in raised.value.reason
        assert [json.loads(line)["event"] for line in lines.text] == [
            "loading store credentials failed",
            "object store failed",
        ]


async def test_an_expired_token_is_replaced_and_the_call_repeated_once(
    home: Home, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0)
    home.use_program()
    home.print("first", "secret", valid=IN_AN_HOUR)
    with amazon_running() as amazon:
        async with open_s3_store(make_settings(**amazon.environment("expired", **NO_KEYS))) as (store, client):
            await client.create_bucket(Bucket="expired", CreateBucketConfiguration=WHERE)
            home.print("second", "secret", valid=IN_AN_HOUR)
            amazon.odd.forget()
            expired = amazon.odd.refused["PUT object"] = Refusal(status="400 Bad Request", code="ExpiredToken", times=2)

            await store.put("a.jpg", Body(b"a photo"), ATTRIBUTES)

            assert amazon.odd.calls == ["PUT object"] * 3
            expired.times = 10
            home.print("third", "secret", valid=IN_AN_HOUR)
            with pytest.raises(StorageUnavailable):
                await store.put("b.jpg", Body(b"a photo"), ATTRIBUTES)
            assert amazon.odd.calls.count("PUT object") == 6
