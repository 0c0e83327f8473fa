"""Errors of the development services. The CLI prints their one line and exits with 1."""


class DevError(Exception):
    """The development services cannot be started. The message says what to do."""


def missing_extra(what: str) -> DevError:
    """Return the error for a package of the `dev` extra that is not installed."""
    return DevError(f"{what} is not installed; use scripts/dev, or: pip install -e '.[dev]'")
