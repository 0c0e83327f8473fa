"""Which labels are valid."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipe_api.errors import FieldEmpty, InvalidText, RecipeApiError, TextTooLarge
from recipe_api.uploads.labels import check_label
from tests.support.examples import examples


@pytest.mark.parametrize(
    "label",
    [
        "Pancakes",
        " Pancakes ",
        "Crêpes\nwith sugar",
        "パンケーキ",
        "\u200fפנקייק",  # noqa: RUF001 - Hebrew
        "🥞",
        "👨\u200d👩\u200d👧",
        "<b>",
        "0",
        ".",
    ],
)
def test_a_valid_label_is_returned_unchanged(label: str) -> None:
    assert check_label(label, max_bytes=64) == label


@pytest.mark.parametrize(
    "label",
    ["", " ", "\t\r\n", "\u00a0", "\u3000", "\u2028", "\u200b", "\ufeff", "\u202e", "\x01", " \u200d\n\u200b "],
)
def test_a_label_without_visible_characters_is_empty(label: str) -> None:
    with pytest.raises(FieldEmpty) as caught:
        check_label(label, max_bytes=64)
    assert caught.value.field == "label"


@pytest.mark.parametrize("label", ["\0", "Pan\0cakes", "Pancakes\0"])
def test_a_label_with_nul_is_rejected(label: str) -> None:
    with pytest.raises(InvalidText, match="NUL"):
        check_label(label, max_bytes=64)


@pytest.mark.parametrize("label", ["\ud83e", "Pan\udd5ecakes", "\udd5e\ud83e"])
def test_a_label_with_a_lone_surrogate_is_rejected(label: str) -> None:
    with pytest.raises(InvalidText, match="surrogate"):
        check_label(label, max_bytes=64)


@pytest.mark.parametrize("character", ["x", "ä", "€", "🥞"])
def test_a_label_is_measured_in_bytes_of_utf_8(character: str) -> None:
    size = len(character.encode())
    assert check_label(character * (60 // size), max_bytes=60)
    with pytest.raises(TextTooLarge, match="60 bytes"):
        check_label(character * (60 // size) + "x", max_bytes=60)


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cs", "Cc", "Zs"])))
@settings(max_examples=examples(300))
def test_any_text_is_either_rejected_or_can_be_stored(label: str) -> None:
    try:
        kept = check_label(label, max_bytes=40)
    except RecipeApiError as error:
        assert error.field == "label"  # noqa: PT017 - either outcome is valid
        return
    assert kept == label
    assert len(kept.encode("utf-8")) <= 40
    assert "\0" not in kept
    assert kept.strip()
