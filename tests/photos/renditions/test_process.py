"""Runs the child process, and ends it whatever happens."""

import asyncio
import io
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import uvloop
from PIL import Image

from recipe_api.photos.renditions.process import (
    Job,
    Limits,
    PhotoUnrenderable,
    Rendered,
    RendererFailed,
    command,
    render,
)
from recipe_api.photos.renditions.slot import Slot
from tests.photos.renditions.streams import rendered, renderers, streamed
from tests.support.samples import sample

pytestmark = pytest.mark.slow

JPEG = Job(content_type="image/jpeg", sizes=(320,))
LIMITS = Limits()
HOPPER = sample("hopper.jpg")


class StoreFailed(Exception):
    """The error of a photo whose store fails."""


class Photo:
    """A photo that stops after `stop` bytes, until `go_on` is set."""

    def __init__(self, data: bytes = HOPPER, *, stop: int = 1000) -> None:
        self._data, self._stop = data, stop
        self.has_stopped = asyncio.Event()
        self.go_on = asyncio.Event()
        self.is_closed = False

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            yield self._data[: self._stop]
            self.has_stopped.set()
            await self.go_on.wait()
            yield self._data[self._stop :]
        finally:
            self.is_closed = True


@pytest.fixture(scope="module")
async def loops_are_open() -> None:
    """Open the event loop of all tests, and let libuv open the pipe that all its loops share, which it never closes."""
    uvloop.new_event_loop().close()


@pytest.fixture(autouse=True)
def nothing_is_left(loops_are_open: None) -> Iterator[None]:  # noqa: ARG001 - before this one
    """Check that a test leaves no child, no zombie and no file descriptor."""
    before = open_files()
    yield
    assert renderers() == []
    assert open_files() <= before  # services of other tests may close connections meanwhile


def open_files() -> set[Path]:
    return set(Path("/dev/fd").iterdir())


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("hopper.jpg", "image/jpeg"),
        ("pil136.png", "image/png"),
        ("hopper.gif", "image/gif"),
        ("hopper.webp", "image/webp"),
        ("hopper.avif", "image/avif"),
        ("hopper.heif", "image/heif"),
    ],
)
async def test_every_type_is_rendered(name: str, content_type: str) -> None:
    result = await rendered(sample(name), content_type, sizes=(20, 320))
    small, large = result.renditions
    assert max(small.width, small.height) == 20
    assert (large.width, large.height) == (result.width, result.height)
    for rendition in result.renditions:
        shown = Image.open(io.BytesIO(rendition.data))
        assert (shown.format, shown.size) == ("WEBP", (rendition.width, rendition.height))


async def test_what_is_not_a_photo_is_unrenderable() -> None:
    with pytest.raises(PhotoUnrenderable, match="not a JPEG file"):
        await rendered(bytes(100_000), "image/jpeg")


async def test_a_photo_of_another_type_is_unrenderable() -> None:
    with pytest.raises(PhotoUnrenderable, match="not a PNG file"):
        await rendered(HOPPER, "image/png")


async def test_an_empty_photo_is_unrenderable() -> None:
    with pytest.raises(PhotoUnrenderable):
        await rendered(b"", "image/jpeg")


async def test_what_follows_the_image_is_not_read() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        yield HOPPER
        while True:
            yield bytes(64 * 1024)
            read += 64 * 1024

    assert (await render(endless(), JPEG, limits=LIMITS)).width == 128
    assert read < 1024 * 1024


async def test_an_error_of_the_photo_is_raised_as_it_is() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield HOPPER[:1000]
        raise StoreFailed

    with pytest.raises(StoreFailed):
        await render(failing(), JPEG, limits=LIMITS)


@pytest.mark.parametrize("error", [TimeoutError, ConnectionResetError, BrokenPipeError])
async def test_an_error_of_the_photo_is_not_mistaken_for_one_of_the_child(error: type[Exception]) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield HOPPER[:1000]
        raise error

    with pytest.raises(error):
        await render(failing(), JPEG, limits=LIMITS)


@pytest.mark.parametrize("stop", [0, 1000])
async def test_a_photo_that_does_not_arrive_in_time_is_not_a_failure_of_the_child(stop: int) -> None:
    photo = Photo(stop=stop)
    with pytest.raises(TimeoutError):
        await render(photo.stream(), JPEG, limits=Limits(wall_seconds=0.3))
    assert photo.is_closed


async def test_a_child_that_takes_too_long_is_a_failure() -> None:
    photo = Photo()

    async def stopped() -> AsyncIterator[bytes]:
        async for data in photo.stream():
            yield data
            (child,) = renderers()
            child.suspend()
            photo.go_on.set()

    with pytest.raises(RendererFailed, match=r"longer than 0\.3 s"):
        await render(stopped(), JPEG, limits=Limits(wall_seconds=0.3))


@asynccontextmanager
async def started(photo: Photo) -> AsyncIterator[tuple[asyncio.Task[Rendered], psutil.Process]]:
    """Start to render a photo that stops, and yield the child process."""
    rendering = asyncio.create_task(render(photo.stream(), JPEG, limits=LIMITS))
    try:
        await photo.has_stopped.wait()
        (child,) = renderers()
        yield rendering, child
    finally:
        rendering.cancel()
        await asyncio.wait({rendering})


async def waiting_for_photo(child: psutil.Process) -> None:
    """Wait until the child has loaded its modules, and sleeps until more of the photo arrives."""
    while not (has_loaded_modules(child) and child.status() == psutil.STATUS_SLEEPING):  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0)


def has_loaded_modules(child: psutil.Process) -> bool:
    is_reading_modules = any(not is_libffi(file.path) for file in child.open_files())
    return not is_reading_modules and any("/_imagingcms." in each.path for each in child.memory_maps())


def is_libffi(path: str) -> bool:
    """Return whether this is libffi, which keeps its own file open for its trampolines on some systems."""
    return Path(path).name.startswith("libffi.so")


def open_files_of(process: psutil.Process) -> set[str]:
    """Return the open file descriptors, except that of libffi."""
    files = Path(f"/proc/{process.pid}/fd").iterdir()
    return {file.name for file in files if not is_libffi(str(file.readlink()))}


async def test_the_child_has_an_empty_environment_and_is_confined() -> None:
    async with started(Photo()) as (_, child):
        await waiting_for_photo(child)
        assert_confined(child)


def assert_confined(child: psutil.Process) -> None:
    assert child.environ() == {}
    assert child.cwd() == "/"
    assert child.nice() == 10
    assert child.rlimit(psutil.RLIMIT_AS) == (LIMITS.memory_bytes,) * 2
    assert child.rlimit(psutil.RLIMIT_CPU) == (LIMITS.cpu_seconds,) * 2
    assert child.rlimit(psutil.RLIMIT_FSIZE) == child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_NPROC) == (0, 0)
    assert max(child.rlimit(psutil.RLIMIT_NOFILE)) <= 16
    assert open_files_of(child) == {"0", "1", "2"}
    assert child.num_threads() == 1
    process = Path(f"/proc/{child.pid}")
    assert (process / "oom_score_adj").read_text() == "1000\n"
    assert "NoNewPrivs:\t1\n" in (process / "status").read_text()


async def test_a_limit_that_is_lower_already_stays() -> None:
    line = shlex.join(command(Job(content_type="image/png", sizes=(320,)), limits=Limits(memory_bytes=10**9)))
    shell = await asyncio.create_subprocess_shell(
        f"ulimit -v 300000; exec {line}", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    file = io.BytesIO()
    Image.new("RGB", (9000, 9000)).save(file, "PNG")
    output, _ = await shell.communicate(file.getvalue())
    assert b"MemoryError" in output


async def test_the_child_inherits_the_lock(tmp_path: Path) -> None:
    photo = Photo()
    async with Slot(tmp_path / "lock").taken() as lock:
        rendering = asyncio.create_task(render(photo.stream(), JPEG, limits=LIMITS, lock=lock))
        await photo.has_stopped.wait()
        (child,) = renderers()
        assert str(tmp_path / "lock") in {file.path for file in child.open_files()}
        photo.go_on.set()
        await rendering


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_that_a_whole_dyno_receives_do_not_end_a_rendering(number: signal.Signals) -> None:
    photo = Photo()
    async with started(photo) as (rendering, child):
        await waiting_for_photo(child)
        child.send_signal(number)
        photo.go_on.set()
        assert (await rendering).width == 128


async def test_a_child_that_is_killed_is_a_failure() -> None:
    async with started(Photo()) as (rendering, child):
        child.kill()
        with pytest.raises(RendererFailed, match="killed by SIGKILL"):
            await rendering


async def test_a_child_that_crashes_is_a_failure_that_quotes_the_end_of_its_output(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("recipe_api.photos.renditions.process.CHILD", "recipe_api.missing")
    with pytest.raises(RendererFailed, match=r"exited with code 1.*No module named recipe_api\.missing"):
        await rendered(HOPPER, "image/jpeg")


async def test_a_child_that_stops_reading_does_not_make_this_process_read_the_photo() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        (child,) = renderers()
        child.suspend()
        while True:
            yield bytes(64 * 1024)
            read += 64 * 1024

    with pytest.raises(RendererFailed, match="longer than"):
        await render(endless(), JPEG, limits=Limits(wall_seconds=0.5))
    assert read <= 256 * 1024


async def test_a_child_that_uses_too_much_cpu_time_is_a_failure() -> None:
    file = io.BytesIO()
    Image.new("1", (30_000, 3_000)).save(file, "PNG")
    with pytest.raises(RendererFailed, match=r"killed by SIG(XCPU|KILL)"):
        await rendered(file.getvalue() * 2, "image/png", sizes=(16_383,), limits=Limits(cpu_seconds=1))


async def test_a_photo_that_needs_too_much_memory_is_unrenderable() -> None:
    with pytest.raises(PhotoUnrenderable, match="bytes of memory"):
        await rendered(HOPPER, "image/jpeg", limits=Limits(memory_bytes=80 * 1024 * 1024))


async def test_memory_that_runs_out_while_decoding_is_unrenderable() -> None:
    """The estimate does not count what the largest rendition takes."""
    file = io.BytesIO()
    Image.new("RGB", (5000, 5000)).save(file, "PNG")
    with pytest.raises(PhotoUnrenderable, match="MemoryError"):
        await rendered(file.getvalue(), "image/png", sizes=(5000,), limits=Limits(memory_bytes=185 * 1024 * 1024))


async def test_a_photo_with_too_many_pixels_is_unrenderable() -> None:
    with pytest.raises(PhotoUnrenderable, match="128 x 128 pixels"):
        await rendered(HOPPER, "image/jpeg", limits=Limits(pixels=128 * 128 - 1))


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_cancelling_at_any_time_leaves_nothing(steps: int) -> None:
    rendering = asyncio.create_task(rendered(HOPPER, "image/jpeg"))
    for _ in range(steps):
        await asyncio.sleep(0)
    rendering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rendering


async def test_cancelling_closes_the_photo_and_ends_the_child() -> None:
    photo = Photo()
    async with started(photo) as (rendering, child):
        rendering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await rendering
        assert photo.is_closed
        assert not child.is_running()


async def test_many_at_once_do_not_disturb_one_another() -> None:
    results = await asyncio.gather(*(rendered(HOPPER, "image/jpeg") for _ in range(4)))
    assert len(set(results)) == 1


def in_uvloop(work: Callable[[], Coroutine[None, None, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())


def test_the_event_loop_of_the_server_runs_it_too(tmp_path: Path) -> None:
    async def work() -> None:
        assert (await rendered(HOPPER, "image/jpeg")).width == 128
        with pytest.raises(PhotoUnrenderable):
            await rendered(bytes(1000), "image/jpeg")
        async with started(Photo()) as (rendering, child):
            child.kill()
            with pytest.raises(RendererFailed, match="SIGKILL"):
                await rendering
        async with Slot(tmp_path / "lock").taken() as lock:
            result = await render(streamed(HOPPER), JPEG, limits=LIMITS, lock=lock)
            assert result.width == 128
        for steps in range(40):
            cancelled = asyncio.create_task(rendered(HOPPER, "image/jpeg"))
            for _ in range(steps):
                await asyncio.sleep(0)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled

    in_uvloop(work)
    assert renderers() == []


def test_the_service_imports_no_decoder() -> None:
    script = (
        "import sys, recipe_api.composition, recipe_api.server.running, recipe_api.photos.renditions.process\n"
        "print([name for name in sys.modules if name.partition('.')[0] in {'PIL', 'pillow_heif'}])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
