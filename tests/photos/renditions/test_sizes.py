"""Which renditions a photo has, and their dimensions."""

from hypothesis import given
from hypothesis import strategies as some

from recipe_api.photos.filtering import Dimensions
from recipe_api.photos.metadata import FILTERS
from recipe_api.photos.renditions.sizes import RENDERABLE, offered, scaled

SIZES = (320, 960, 1920)

sides = some.integers(min_value=1, max_value=2**31)
dimensions = some.builds(Dimensions, sides, sides)
configured = some.lists(some.integers(min_value=1, max_value=16_383), max_size=6).map(tuple)


def test_a_large_photo_has_every_size() -> None:
    assert offered(Dimensions(4000, 3000), SIZES) == SIZES


def test_a_small_photo_has_the_sizes_below_it_and_one_of_its_own_dimensions() -> None:
    assert offered(Dimensions(300, 500), SIZES) == (320, 960)
    assert scaled(Dimensions(300, 500), 960) == Dimensions(300, 500)


def test_a_photo_of_exactly_a_configured_size_has_no_larger_one() -> None:
    assert offered(Dimensions(960, 1), SIZES) == (320, 960)


def test_a_photo_without_area_has_no_renditions() -> None:
    assert offered(Dimensions(0, 20), SIZES) == ()


def test_a_long_narrow_photo_keeps_at_least_one_pixel() -> None:
    assert scaled(Dimensions(10_000, 1), 320) == Dimensions(320, 1)


def test_every_type_whose_metadata_can_be_removed_can_have_renditions() -> None:
    assert FILTERS.keys() == RENDERABLE


@given(dimensions, configured)
def test_the_sizes_offered_are_the_first_of_those_configured(photo: Dimensions, sizes: tuple[int, ...]) -> None:
    chosen = offered(photo, sizes)
    assert list(chosen) == sorted(set(sizes))[: len(chosen)]
    assert bool(chosen) == bool(sizes)


@given(dimensions, configured)
def test_no_two_renditions_offered_are_the_same(photo: Dimensions, sizes: tuple[int, ...]) -> None:
    renditions = [scaled(photo, size) for size in offered(photo, sizes)]
    assert len({max(rendition) for rendition in renditions}) == len(renditions)


@given(dimensions, some.integers(min_value=1, max_value=16_383))
def test_a_rendition_is_as_long_as_its_size_or_as_its_photo(photo: Dimensions, size: int) -> None:
    assert max(scaled(photo, size)) == min(size, max(photo))
    assert min(scaled(photo, size)) >= 1


@given(dimensions, some.integers(min_value=1, max_value=16_383))
def test_a_rendition_has_the_shape_of_its_photo_to_half_a_pixel(photo: Dimensions, size: int) -> None:
    rendition = scaled(photo, size)
    factor = max(rendition) / max(photo)
    assert abs(min(rendition) - max(min(photo) * factor, 1)) <= 0.5


@given(dimensions, some.integers(min_value=1, max_value=16_383))
def test_turning_a_photo_turns_its_rendition(photo: Dimensions, size: int) -> None:
    width, height = scaled(photo, size)
    assert scaled(Dimensions(photo.height, photo.width), size) == (height, width)
