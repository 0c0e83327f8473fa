"""What each token permits."""

import base64
import hmac
import re
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from recipe_api.errors import PermissionDenied, TokenRequired, UnknownToken
from recipe_api.settings import ApiToken
from recipe_api.web.tokens import ANYONE, Caller, Tokens
from tests.support.examples import examples

KITCHEN, PHONE = "not-a-real-token-kitchen", "not-a-real-token-phone"
RECIPE = UUID("0b6f5a52-5d3f-4c3e-9a43-0d7a1a2f6c11")


def tokens(*keys: str, upload_only: frozenset[str] = frozenset(), **api_tokens: str) -> Tokens:
    named = {
        name: ApiToken(token=SecretStr(token), upload_only=name in upload_only) for name, token in api_tokens.items()
    }
    return Tokens(secret_keys=[SecretStr(key) for key in keys], api_tokens=named)


OPEN = tokens("not-a-real-key")
CLOSED = tokens("not-a-real-key", kitchen=KITCHEN, phone=PHONE)


def test_a_manage_token_is_256_bits_in_characters_that_a_header_allows() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", OPEN.manage_token(RECIPE))


def test_a_manage_token_is_the_same_every_time_and_in_every_process() -> None:
    assert OPEN.manage_token(RECIPE) == tokens("not-a-real-key").manage_token(RECIPE)
    # Computed here too, because a release that derives tokens in another way would lock people out of their recipes.
    digest = hmac.new(b"not-a-real-key", b"recipe_api manage token v1\0" + RECIPE.bytes, "sha256").digest()
    assert OPEN.manage_token(RECIPE) + "=" == base64.urlsafe_b64encode(digest).decode()


def test_another_recipe_or_key_gives_another_manage_token() -> None:
    recipes = [uuid4() for _ in range(100)]
    made = {service.manage_token(recipe) for recipe in recipes for service in (OPEN, tokens("another"))}
    assert len(made) == 200


@pytest.mark.parametrize("presented", [None, "", "anything", KITCHEN])
def test_without_api_tokens_anyone_may_upload(presented: str | None) -> None:
    assert OPEN.authorize_api(presented) is ANYONE


@pytest.mark.parametrize(("presented", "name"), [(KITCHEN, "kitchen"), (PHONE, "phone")])
def test_an_api_token_identifies_its_caller_by_name(presented: str, name: str) -> None:
    assert CLOSED.authorize_api(presented) == Caller(name, manages_all=True)
    assert CLOSED.authorize_manage(presented, RECIPE) == name


def test_an_upload_only_token_permits_uploading_and_listing_only() -> None:
    service = tokens("not-a-real-key", upload_only=frozenset({"page"}), page=PHONE, kitchen=KITCHEN)

    assert service.authorize_api(PHONE) == Caller("page", manages_all=False)
    assert service.authorize_manage(KITCHEN, RECIPE) == "kitchen"
    with pytest.raises(PermissionDenied, match="uploading and listing only"):
        service.authorize_manage(PHONE, RECIPE)


def test_the_first_secret_key_signs_and_all_keys_verify() -> None:
    before, during, after = tokens("old"), tokens("new", "old"), tokens("new")

    assert during.manage_token(RECIPE) == after.manage_token(RECIPE) != before.manage_token(RECIPE)
    for issuer in (before, after):
        assert during.authorize_manage(issuer.manage_token(RECIPE), RECIPE) is None
        with pytest.raises(PermissionDenied):
            during.authorize_manage(issuer.manage_token(ANOTHER), RECIPE)
    with pytest.raises(PermissionDenied):
        after.authorize_manage(before.manage_token(RECIPE), RECIPE)


ANOTHER = UUID("00000000-0000-4000-8000-000000000000")
WRONG = ["", "kitchen", KITCHEN[:-1], f"{KITCHEN}x", KITCHEN.upper(), f" {KITCHEN}", "\xe4\xff", "x" * 10_000]


def test_an_api_token_is_required_if_any_is_set() -> None:
    with pytest.raises(TokenRequired) as caught:
        CLOSED.authorize_api(None)
    assert type(caught.value) is TokenRequired


@pytest.mark.parametrize("presented", [*WRONG, CLOSED.manage_token(RECIPE)])
def test_an_unknown_api_token_is_rejected(presented: str) -> None:
    with pytest.raises(UnknownToken):
        CLOSED.authorize_api(presented)


@pytest.mark.parametrize("service", [OPEN, CLOSED], ids=["open", "closed"])
def test_a_manage_token_permits_managing_its_recipe(service: Tokens) -> None:
    assert service.authorize_manage(service.manage_token(RECIPE), RECIPE) is None


@pytest.mark.parametrize("service", [OPEN, CLOSED], ids=["open", "closed"])
def test_managing_requires_a_token(service: Tokens) -> None:
    with pytest.raises(TokenRequired, match="manage_token"):
        service.authorize_manage(None, RECIPE)


@pytest.mark.parametrize("service", [OPEN, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("presented", [*WRONG, OPEN.manage_token(ANOTHER), tokens("x").manage_token(RECIPE)])
def test_another_token_does_not_manage_a_recipe(service: Tokens, presented: str) -> None:
    with pytest.raises(PermissionDenied):
        service.authorize_manage(presented, RECIPE)


@given(recipe=st.uuids(), other=st.uuids())
@settings(max_examples=examples(100))
def test_a_manage_token_does_not_manage_other_recipes(recipe: UUID, other: UUID) -> None:
    token = OPEN.manage_token(recipe)
    assert OPEN.authorize_manage(token, recipe) is None
    if other != recipe:
        with pytest.raises(PermissionDenied):
            OPEN.authorize_manage(token, other)


@given(st.text(st.characters(max_codepoint=255)))  # what a header can carry
@settings(max_examples=examples(200))
def test_made_up_tokens_are_rejected(presented: str) -> None:
    with pytest.raises(UnknownToken):
        CLOSED.authorize_api(presented)
    with pytest.raises(PermissionDenied):
        CLOSED.authorize_manage(presented, RECIPE)


@pytest.mark.parametrize("presented", [*WRONG[1:], OPEN.manage_token(ANOTHER)])
def test_no_error_message_contains_the_token(presented: str) -> None:
    with pytest.raises(UnknownToken) as unknown:
        CLOSED.authorize_api(presented)
    with pytest.raises(PermissionDenied) as refused:
        CLOSED.authorize_manage(presented, RECIPE)
    assert presented not in unknown.value.detail + refused.value.detail
