"""What can go wrong on the laptop, said in one line that tells what to do. The CLI prints it and ends with 1."""


class DevError(Exception):
    """The development services cannot be had. `str(error)` is meant for whoever typed the command."""


def missing_extra(what: str) -> DevError:
    """The error for a part of the `dev` extra that is not installed."""
    return DevError(f"{what} is not installed; use scripts/dev, or: pip install -e '.[dev]'")
