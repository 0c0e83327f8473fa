"""Keys sort by time, are unique and contain their time."""

import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.photos.kinds import KNOWN
from recipe_api.storage.keys import (
    RANDOM_BYTES,
    creation_time,
    lower_bound,
    new_key,
    new_staged_stem,
    now,
    piece_key,
    piece_stem,
    rendition_key,
    rendition_size,
    stem,
    without_secret,
)
from tests.support.examples import examples

# From the first time of 13 digits (before it, zeros fill them up) to the last.
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2286, 11, 20, 17, 46, 39, 999_999, tzinfo=UTC)
times = st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None), timezones=st.just(UTC))
prefixes = st.sampled_from(["", "public/", "a/b.c/", "2026-", "1795332567934-"])
extensions = st.sampled_from(sorted(kind.extension for kind in KNOWN.values()))


@pytest.mark.parametrize(
    ("key", "logged"),
    [
        ("staged/1795332567934-4f9a1c2b7d3e8a605f9b1c2d3e4f5a6b_00001.part", "staged/1795332567934-4f9a…_00001.part"),
        ("staged/1795332567934-4f9a1c2b7d3e8a605f9b1c2d3e4f5a6b_", "staged/1795332567934-4f9a…_"),
        ("1795332567934-4f9a1c2b7d3e8a605f9b1c2d3e4f5a6b.jpg", "1795332567934-4f9a1c2b7d3e8a605f9b1c2d3e4f5a6b.jpg"),
        (
            "1795332567934-4f9a1c2b7d3e8a605f9b1c2d3e4f5a6b_320.webp",
            "1795332567934-4f9a1c2b7d3e8a605f9b1c2d3e4f5a6b_320.webp",
        ),
    ],
    ids=["piece", "pieces", "photo", "rendition"],
)
def test_the_log_shows_the_keys_of_pieces_only_in_part(key: str, logged: str) -> None:
    assert without_secret(key) == logged


def test_a_key_consists_of_milliseconds_random_digits_and_extension() -> None:
    created_at = datetime(2026, 11, 22, 7, 29, 27, 934_000, tzinfo=UTC)
    key = new_key(created_at, prefix="public/", extension="jpg")
    assert re.fullmatch(r"public/1795332567934-[0-9a-f]{32}\.jpg", key)
    assert RANDOM_BYTES * 8 >= 80, "fewer bits could be guessed, or collide"


def test_the_key_of_a_piece_consists_of_its_uploads_stem_and_its_number() -> None:
    stem = new_staged_stem(datetime(2026, 11, 22, 7, 29, 27, 934_000, tzinfo=UTC), prefix="staged/")
    assert re.fullmatch(r"staged/1795332567934-[0-9a-f]{32}", stem)
    assert piece_key(stem, 12) == f"{stem}_00012.part"
    assert creation_time(piece_key(stem, 12), prefix="staged/") is None  # it is not the key of a photo
    assert piece_key(stem, 12, claim=UUID(int=10)) == f"{stem}_00012-{10:032x}.part"
    for claim in (None, UUID(int=10)):
        assert piece_stem(piece_key(stem, 12, claim=claim), prefix="staged/") == stem


@given(time=times, prefix=prefixes, extension=extensions)
@settings(max_examples=examples(200))
def test_a_key_contains_the_millisecond_of_its_creation(time: datetime, prefix: str, extension: str) -> None:
    moment = creation_time(new_key(time, prefix=prefix, extension=extension), prefix=prefix)
    assert moment == time.replace(microsecond=time.microsecond // 1000 * 1000)


@given(one=times, other=times, prefix=prefixes)
@settings(max_examples=examples(200))
def test_keys_sort_like_their_times(one: datetime, other: datetime, prefix: str) -> None:
    earlier, later = sorted([one, other])
    if later - earlier >= timedelta(milliseconds=1):
        assert new_key(earlier, prefix=prefix, extension="webp") < new_key(later, prefix=prefix, extension="avif")


@given(time=times, other=times)
@settings(max_examples=examples(200))
def test_the_lower_bound_of_a_time_separates_earlier_keys_from_later_ones(time: datetime, other: datetime) -> None:
    time = time.replace(microsecond=time.microsecond // 1000 * 1000)
    assert (lower_bound(time) <= new_key(other, prefix="", extension="jpg")) == (time <= other)
    assert lower_bound(time) <= new_key(time, prefix="", extension="jpg")


@pytest.mark.parametrize(
    ("time", "before_it"),
    [
        (datetime.min.replace(tzinfo=UTC), [False, False, False]),
        (datetime(1969, 12, 31, 23, 59, tzinfo=UTC), [False, False, False]),
        (datetime(2286, 11, 20, 17, 47, tzinfo=UTC), [True, True, False]),  # 13 digits do not reach beyond the last key
        (datetime.max.replace(tzinfo=UTC), [True, True, False]),
    ],
)
def test_the_lower_bound_of_a_time_outside_the_range_of_keys_separates_them_too(
    time: datetime, before_it: list[bool]
) -> None:
    keys = [new_key(made, prefix="", extension="jpg") for made in (FIRST, now(), LAST)]
    assert [key < lower_bound(time) for key in keys] == before_it


def test_keys_of_one_millisecond_are_all_different() -> None:
    time = now()
    assert len({new_key(time, prefix="", extension="jpg") for _ in range(10_000)}) == 10_000


def test_a_key_contains_utc_in_every_time_zone() -> None:
    time = datetime(2026, 11, 22, 8, 29, 27, tzinfo=timezone(timedelta(hours=1)))
    moment = creation_time(new_key(time, prefix="", extension="jpg"), prefix="")
    assert moment == time
    assert moment.tzinfo is UTC


KEY = "1795332567934-4f9a1c2b7d3e8a605f9b1c2d3e4f5a6b.jpg"


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("", ""),
        ("cake.jpg", ""),
        ("public/", "public/"),
        (KEY, "public/"),
        (f"public/{KEY}", ""),
        (f"public/{KEY}", "private/"),
        (f"public/public/{KEY}", "public/"),
        (f"PUBLIC/{KEY}", "public/"),
        (KEY.upper(), ""),
        (f"{KEY}\n", ""),
        (f" {KEY}", ""),
        (KEY.removeprefix("1"), ""),
        (f"1{KEY}", ""),
        (KEY.replace("-4f", "-4g"), ""),
        (KEY.replace("-4f", "-"), ""),
        (KEY.replace("-", "_"), ""),
        (KEY.removesuffix(".jpg"), ""),
        (KEY.removesuffix("jpg"), ""),
        (f"{KEY}.php", ""),
        (KEY.replace("jpg", "waytoolong"), ""),
        (KEY.replace(".jpg", "_320.jpg"), ""),
        (KEY.replace(".jpg", "_0320.webp"), ""),
        (KEY.replace(".jpg", "_32000.webp"), ""),
        (KEY.replace("1795332567934", "１７９５３３２５６７９３４"), ""),  # noqa: RUF001 - digits, and no ASCII
    ],
)
def test_a_key_of_another_form_has_no_time(key: str, prefix: str) -> None:
    assert creation_time(key, prefix=prefix) is None


@given(
    key=st.text() | st.from_regex(r"[0-9]{12,14}-[0-9a-f]{31,33}(\.[a-z0-9]{0,9}|_[0-9]{1,5}\.webp)"), prefix=prefixes
)
@settings(max_examples=examples(300))
def test_text_has_a_time_only_if_it_has_the_form_of_a_key(key: str, prefix: str) -> None:
    moment = creation_time(key, prefix=prefix)
    form = re.escape(prefix) + r"[0-9]{13}-[0-9a-f]{32}(\.[a-z0-9]{1,8}|_[1-9][0-9]{1,3}\.webp)"
    assert (moment is not None) == bool(re.fullmatch(form, key))


class TestTheKeyOfARendition:
    @given(time=times, prefix=prefixes, extension=extensions, size=st.integers(16, 4096))
    @settings(max_examples=examples(200))
    def test_follows_its_photo_and_precedes_all_later_ones(
        self, time: datetime, prefix: str, extension: str, size: int
    ) -> None:
        photo = new_key(time, prefix=prefix, extension=extension)
        rendition = rendition_key(photo, size)

        assert photo < rendition
        assert rendition < prefix + lower_bound(time + timedelta(milliseconds=1))
        assert creation_time(rendition, prefix=prefix) == creation_time(photo, prefix=prefix)

    @given(time=times, prefix=prefixes, extension=extensions, size=st.integers(16, 4096))
    @settings(max_examples=examples(200))
    def test_contains_the_stem_of_its_photo_and_its_size(
        self, time: datetime, prefix: str, extension: str, size: int
    ) -> None:
        photo = new_key(time, prefix=prefix, extension=extension)

        assert stem(rendition_key(photo, size)) == stem(photo) == photo.removesuffix(f".{extension}")
        assert rendition_size(rendition_key(photo, size)) == size
        assert rendition_size(photo) is None

    def test_is_not_that_of_another_photo(self) -> None:
        time = now()
        photo, other = (new_key(time, prefix="", extension="webp") for _ in range(2))
        assert stem(photo) != stem(other)


def test_now_is_truncated_to_milliseconds() -> None:
    time = now()
    assert creation_time(new_key(time, prefix="", extension="jpg"), prefix="") == time
    assert timedelta() <= datetime.now(UTC) - time < timedelta(minutes=1)
