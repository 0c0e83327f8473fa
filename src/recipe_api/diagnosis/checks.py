"""Checks that run in order, and what each of them returns."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

Context = TypeVar("Context")


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one check."""

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""
    """A shell command that fixes the problem; empty if there is none."""


@dataclass(frozen=True, slots=True)
class Check(Generic[Context]):
    """A check and those that must have passed before it."""

    name: str
    run: Callable[[Context], Awaitable[Result]]
    needs: tuple[str, ...] = ()


def ok(check: str, detail: str) -> Result:
    """Return a result: nothing is wrong."""
    return Result(check=check, verdict=Verdict.OK, detail=detail)


def warn(check: str, detail: str, remedy: str = "") -> Result:
    """Return a result: the service works, but not as well as it should."""
    return Result(check=check, verdict=Verdict.WARN, detail=detail, remedy=remedy)


def fail(check: str, detail: str, remedy: str = "") -> Result:
    """Return a result: the service does not work."""
    return Result(check=check, verdict=Verdict.FAIL, detail=detail, remedy=remedy)


def skip(check: str, detail: str) -> Result:
    """Return a result: the check cannot be made."""
    return Result(check=check, verdict=Verdict.SKIP, detail=detail)


async def examine(
    checks: Iterable[Check[Context]],
    context: Context,
    *,
    failures: tuple[type[Exception], ...],
    describe: Callable[[Exception], str],
) -> AsyncGenerator[Result, None]:
    """Yield a result for each check, in order.

    A check is skipped if one that it needs has failed or was itself skipped.

    Args:
        checks: What to check.
        context: What the checks share.
        failures: Exceptions of a check that mean that it has failed.
        describe: Returns the detail of the result for such an exception.
    """
    causes: dict[str, str] = {}
    """For each check that failed or was skipped, the one that failed."""
    for check in checks:
        cause = next((causes[name] for name in check.needs if name in causes), None)
        if cause is not None:
            result = skip(check.name, f"not checked, because {cause} failed")
        else:
            try:
                result = await check.run(context)
            except failures as failure:
                result = fail(check.name, describe(failure))
        if result.verdict is Verdict.FAIL or cause:
            causes[check.name] = cause or check.name
        yield result
