"""Prints the results of checks, for `recipe-api doctor` and `recipe-api bucket doctor`."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import asdict

from recipe_api.diagnosis.checks import Result, Verdict

OK, PROBLEM = 0, 1


async def print_results(results: AsyncGenerator[Result, None], *, as_json: bool, part: str = "") -> int:
    """Print a line for each result and, below a problem, the command that fixes it; return the exit code.

    Args:
        results: What to print. The generator is closed at the end, even if printing fails.
        as_json: Print one JSON object per line instead.
        part: The name of what is checked, which is added to the JSON; empty to add none.
    """
    code = OK
    async with aclosing(results):
        async for result in results:
            named = {"part": part} if part else {}
            print(json.dumps(named | asdict(result)) if as_json else _lines(result), flush=True)
            if result.verdict is Verdict.FAIL:
                code = PROBLEM
    return code


def _lines(result: Result) -> str:
    line = f"{result.verdict:<4}  {result.check:<12}  {result.detail}"
    return f"{line}\n      fix: {result.remedy}" if result.remedy else line


def is_on_heroku(environ: Mapping[str, str]) -> bool:
    """Return whether this process runs in a dyno."""
    return "DYNO" in environ
