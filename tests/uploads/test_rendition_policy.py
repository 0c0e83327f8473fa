"""Which renditions a recipe has, where they can be fetched, and which objects belong to it."""

import pytest

from recipe_api.database.models import RecipeRow
from recipe_api.uploads.rendition_policy import RenditionPolicy, objects_of
from tests.support.rows import row

POLICY = RenditionPolicy(sizes=(320, 960, 1920), url_template=None)
ELSEWHERE = RenditionPolicy(sizes=(320, 960), url_template="https://img.test/{size}/{key}")
NONE = RenditionPolicy(sizes=(), url_template=None)


def photo(
    width: int | None = 4000,
    height: int | None = 3000,
    *,
    content_type: str = "image/jpeg",
    made: list[int] | None = None,
    prefix: str = "",
) -> RecipeRow:
    recipe = row()
    key = prefix + recipe.key
    return recipe._replace(
        key=key,
        location=f"https://photos.test/{key}",
        content_type=content_type,
        width=width,
        height=height,
        rendition_sizes=made,
    )


def stem(recipe: RecipeRow) -> str:
    return recipe.location.removesuffix(".jpg")


class TestTheLinks:
    def test_have_no_address_until_the_rendition_has_been_made(self) -> None:
        recipe = photo(made=[960])

        assert [(link.size, link.width, link.height, link.address) for link in POLICY.links(recipe)] == [
            (320, 320, 240, None),
            (960, 960, 720, f"{stem(recipe)}_960.webp"),
            (1920, 1920, 1440, None),
        ]
        assert {link.content_type for link in POLICY.links(recipe)} == {"image/webp"}

    def test_end_with_the_first_size_that_is_not_smaller_than_the_photo(self) -> None:
        assert [(link.size, link.width, link.height) for link in POLICY.links(photo(500, 1000))] == [
            (320, 160, 320),
            (960, 480, 960),
            (1920, 500, 1000),
        ]
        assert [(link.size, link.width) for link in POLICY.links(photo(200, 100))] == [(320, 200)]

    @pytest.mark.parametrize(
        "recipe",
        [photo(None, None), photo(content_type="image/tiff"), photo(content_type="application/octet-stream")],
        ids=["unknown dimensions", "TIFF", "unknown type"],
    )
    def test_are_none_if_the_photo_cannot_have_any(self, recipe: RecipeRow) -> None:
        assert POLICY.links(recipe) == []

    def test_lead_to_another_service_from_the_beginning_if_it_makes_them(self) -> None:
        recipe = photo(prefix="public/")

        assert [(link.address, link.content_type) for link in ELSEWHERE.links(recipe)] == [
            (f"https://img.test/320/{recipe.key}", None),
            (f"https://img.test/960/{recipe.key}", None),
        ]

    def test_keep_the_folder_of_the_photo(self) -> None:
        (link, *_) = POLICY.links(recipe := photo(prefix="public/", made=[320]))

        assert link.address == f"https://photos.test/{recipe.key.removesuffix('.jpg')}_320.webp"


class TestWhatIsMissing:
    def test_are_the_sizes_that_have_not_been_made(self) -> None:
        assert POLICY.missing(photo()) == [320, 960, 1920]
        assert POLICY.missing(photo(made=[320, 1920])) == [960]
        assert POLICY.missing(photo(600, 400, made=[320, 960])) == []

    def test_are_all_sizes_if_the_dimensions_are_unknown(self) -> None:
        assert POLICY.missing(photo(None, None)) == [320, 960, 1920]

    def test_is_nothing_if_none_are_made_here(self) -> None:
        assert (
            NONE.missing(photo()) == ELSEWHERE.missing(photo()) == POLICY.missing(photo(content_type="image/bmp")) == []
        )


class TestASubstitute:
    @pytest.mark.parametrize(("size", "shown"), [(320, 320), (321, 960), (500, 960), (1920, 1920), (4000, 1920)])
    def test_is_the_size_itself_or_the_next_larger_one_or_the_largest(self, size: int, shown: int) -> None:
        assert POLICY.substitute(photo(), size) == shown

    def test_may_be_a_size_that_was_made_under_other_settings(self) -> None:
        assert POLICY.substitute(photo(made=[640]), 640) == 640
        assert NONE.substitute(photo(made=[640]), 320) == 640

    def test_does_not_exist_without_renditions(self) -> None:
        assert NONE.substitute(photo(), 320) is None


class TestTheObjectsOfARecipe:
    def test_are_the_photo_and_the_renditions_that_were_or_may_be_made(self) -> None:
        recipe = photo(made=[640], prefix="public/")
        key = recipe.key.removesuffix(".jpg")

        refs = objects_of(recipe, sizes=(320, 640))

        assert [ref.key for ref in refs] == [recipe.key, f"{key}_320.webp", f"{key}_640.webp"]
        assert [ref.location for ref in refs] == [f"https://photos.test/{ref.key}" for ref in refs]
        assert {ref.bucket for ref in refs} == {recipe.bucket}

    def test_are_the_photo_alone_if_it_cannot_be_rendered(self) -> None:
        recipe = photo(content_type="image/tiff")
        assert [ref.key for ref in objects_of(recipe, sizes=(320,))] == [recipe.key]
