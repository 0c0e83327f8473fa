"""Who may do what."""

import base64
import hmac
import re
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from recipe_api.errors import TokenRefused, TokenUnknown, TokenWanted
from recipe_api.web.tokens import Tokens

KITCHEN, PHONE = "not-a-real-token-kitchen", "not-a-real-token-phone"
RECIPE = UUID("0b6f5a52-5d3f-4c3e-9a43-0d7a1a2f6c11")


def tokens(key: str, **api_tokens: str) -> Tokens:
    named = {name: SecretStr(token) for name, token in api_tokens.items()}
    return Tokens(secret_key=SecretStr(key), api_tokens=named)


OPEN = tokens("not-a-real-key")
CLOSED = tokens("not-a-real-key", kitchen=KITCHEN, phone=PHONE)


def test_a_manage_token_is_256_bits_that_a_header_can_carry() -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", OPEN.manage_token(RECIPE))


def test_asking_again_gives_the_same_manage_token_also_in_another_process() -> None:
    assert OPEN.manage_token(RECIPE) == tokens("not-a-real-key").manage_token(RECIPE)
    # Spelt out once more: a release that made another one would shut everyone out of their recipes.
    digest = hmac.new(b"not-a-real-key", b"recipe_api manage token v1\0" + RECIPE.bytes, "sha256").digest()
    assert OPEN.manage_token(RECIPE) + "=" == base64.urlsafe_b64encode(digest).decode()


def test_another_recipe_or_another_key_has_another_manage_token() -> None:
    recipes = [uuid4() for _ in range(100)]
    made = {service.manage_token(recipe) for recipe in recipes for service in (OPEN, tokens("another"))}
    assert len(made) == 200


@pytest.mark.parametrize("presented", [None, "", "anything", KITCHEN])
def test_without_api_tokens_anyone_may_upload(presented: str | None) -> None:
    assert OPEN.authorize_api(presented) is None


@pytest.mark.parametrize(("presented", "name"), [(KITCHEN, "kitchen"), (PHONE, "phone")])
def test_an_api_token_is_known_by_its_name(presented: str, name: str) -> None:
    assert CLOSED.authorize_api(presented) == name
    assert CLOSED.authorize_manage(presented, RECIPE) == name


ANOTHER = UUID("00000000-0000-4000-8000-000000000000")
WRONG = ["", "kitchen", KITCHEN[:-1], f"{KITCHEN}x", KITCHEN.upper(), f" {KITCHEN}", "\xe4\xff", "x" * 10_000]


def test_with_api_tokens_nobody_uploads_without_one() -> None:
    with pytest.raises(TokenWanted) as caught:
        CLOSED.authorize_api(None)
    assert type(caught.value) is TokenWanted


@pytest.mark.parametrize("presented", [*WRONG, CLOSED.manage_token(RECIPE)])
def test_with_api_tokens_nobody_uploads_with_something_else(presented: str) -> None:
    with pytest.raises(TokenUnknown):
        CLOSED.authorize_api(presented)


@pytest.mark.parametrize("service", [OPEN, CLOSED], ids=["open", "closed"])
def test_a_recipes_own_token_manages_it_and_has_no_name(service: Tokens) -> None:
    assert service.authorize_manage(service.manage_token(RECIPE), RECIPE) is None


@pytest.mark.parametrize("service", [OPEN, CLOSED], ids=["open", "closed"])
def test_managing_wants_a_token(service: Tokens) -> None:
    with pytest.raises(TokenWanted, match="manage_token"):
        service.authorize_manage(None, RECIPE)


@pytest.mark.parametrize("service", [OPEN, CLOSED], ids=["open", "closed"])
@pytest.mark.parametrize("presented", [*WRONG, OPEN.manage_token(ANOTHER), tokens("x").manage_token(RECIPE)])
def test_a_token_of_something_else_does_not_manage_a_recipe(service: Tokens, presented: str) -> None:
    with pytest.raises(TokenRefused):
        service.authorize_manage(presented, RECIPE)


@given(recipe=st.uuids(), other=st.uuids())
@settings(deadline=None, max_examples=100)
def test_a_manage_token_manages_one_recipe_and_no_other(recipe: UUID, other: UUID) -> None:
    token = OPEN.manage_token(recipe)
    assert OPEN.authorize_manage(token, recipe) is None
    if other != recipe:
        with pytest.raises(TokenRefused):
            OPEN.authorize_manage(token, other)


@given(st.text(st.characters(max_codepoint=255)))  # what a header can carry
@settings(deadline=None, max_examples=200)
def test_nothing_that_is_made_up_lets_anyone_pass(presented: str) -> None:
    with pytest.raises(TokenUnknown):
        CLOSED.authorize_api(presented)
    with pytest.raises(TokenRefused):
        CLOSED.authorize_manage(presented, RECIPE)


@pytest.mark.parametrize("presented", [*WRONG[1:], OPEN.manage_token(ANOTHER)])
def test_no_refusal_repeats_the_token(presented: str) -> None:
    with pytest.raises(TokenUnknown) as unknown:
        CLOSED.authorize_api(presented)
    with pytest.raises(TokenRefused) as refused:
        CLOSED.authorize_manage(presented, RECIPE)
    assert presented not in unknown.value.detail + refused.value.detail
