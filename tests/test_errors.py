"""The error tree: every class has a status, a code and a title, and the tree in the module's docstring is complete."""

import inspect
import re
from collections.abc import Iterator

import pytest

from recipe_api import errors
from recipe_api.errors import RecipeApiError


def _below(error: type[RecipeApiError]) -> Iterator[type[RecipeApiError]]:
    for child in error.__subclasses__():
        yield child
        yield from _below(child)


ALL: list[type[RecipeApiError]] = [
    RecipeApiError,
    *(error for error in _below(RecipeApiError) if error.__module__ == errors.__name__),
]

each_error = pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)


def test_no_two_problems_share_a_code_or_a_title() -> None:
    problems = [error for error in ALL if "code" in vars(error)]
    assert len({error.code for error in problems}) == len({error.title for error in problems}) == len(problems)


@each_error
def test_an_error_has_its_own_code_and_title_or_a_docstring(error: type[RecipeApiError]) -> None:
    assert ("code" in vars(error)) == ("title" in vars(error))
    assert "title" in vars(error) or error.__doc__
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)
    assert re.fullmatch(r"[A-Z].*[^.]", error.title)


@each_error
def test_an_error_with_its_own_status_has_its_own_code_and_a_docstring(error: type[RecipeApiError]) -> None:
    if "status" in vars(error):
        assert "code" in vars(error)
        assert error.__doc__


@pytest.mark.parametrize(
    ("status", "names"),
    [
        (400, {"RequestRefused", "MalformedBody"}),
        (401, {"TokenRequired"}),
        (403, {"PermissionDenied"}),
        (404, {"RecipeNotFound"}),
        (408, {"BodyStalled"}),
        (413, {"TooLarge", "FileTooLarge", "TextTooLarge", "TooManyParts", "BodyTooLarge"}),
        (415, {"NotMultipart", "NotJson", "UnsupportedFile"}),
        (
            422,
            {
                "InvalidField",
                "FieldMissing",
                "FieldEmpty",
                "FieldRepeated",
                "FieldUnexpected",
                "InvalidText",
                "PhotoMalformed",
            },
        ),
        (499, {"ClientDisconnected"}),
        (500, {"RecipeApiError"}),
        (503, {"Unavailable", "StorageUnavailable", "DatabaseUnavailable"}),
    ],
)
def test_errors_have_the_documented_statuses(status: int, names: set[str]) -> None:
    assert names <= {error.__name__ for error in ALL if error.status == status}


def test_transient_errors_say_when_to_retry() -> None:
    for error in ALL:
        is_transient = issubclass(
            error,
            (
                errors.Unavailable,
                errors.IdempotencyKeyInUse,
                errors.UploadInProgress,
                errors.UploadLocked,
                errors.TooManyRequests,
                errors.QuotaExceeded,
            ),
        )
        seconds = error.retry_after
        assert is_transient == (seconds is not None), error
        assert seconds is None or 1 <= seconds <= 60


def test_errors_of_the_request_are_4xx_and_unavailability_is_503() -> None:
    for error in ALL:
        assert issubclass(error, errors.RequestRefused) == (400 <= error.status < 499), error
        assert issubclass(error, errors.Unavailable) == (error.status == 503), error


def _drawn() -> Iterator[tuple[list[str], str, str]]:
    """Yield for each line of the drawn tree the errors that it names, their parent, and the remark beside them."""
    above: list[str] = []
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        branches = re.match(r" {4}(?:[│ ] {3})*(?:[├└]── )?(?=[A-Z])", line)
        if branches:
            names, _, remark = line.removeprefix(branches[0]).partition("  ")
            del above[(len(branches[0]) - 4) // 4 :]
            above.append(names.split(" · ")[0])
            yield names.split(" · "), (above[-2:-1] or [""])[0], remark.strip()


def test_the_tree_in_the_docstring_shows_every_error_below_its_parent() -> None:
    drawn = {name: parent for names, parent, _ in _drawn() for name in names}
    assert drawn == {error.__name__: "" if error is RecipeApiError else error.__mro__[1].__name__ for error in ALL}


def test_the_tree_in_the_docstring_shows_the_right_statuses() -> None:
    statuses = {error.__name__: error.status for error in ALL}
    remarks = [(names, int(remark[:3])) for names, _, remark in _drawn() if remark[:3].isdecimal()]
    assert {status for _, status in remarks} >= {400, 413, 415, 422, 503}
    assert all(statuses[name] == status for names, status in remarks for name in names)


def test_an_error_has_a_detail_and_a_field() -> None:
    error = errors.FieldEmpty("label is empty.", field="label")
    assert (str(error), error.detail, error.field) == ("label is empty.", "label is empty.", "label")
    assert errors.FieldEmpty("It is empty.").field is None
