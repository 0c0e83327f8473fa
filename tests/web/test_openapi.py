"""The OpenAPI document is complete, and the service conforms to it. Schemathesis compares the two."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from recipe_api.app import create_app
from recipe_api.settings import Settings
from tests.support import schemathesis_hooks
from tests.support.calls import post
from tests.support.service import API_TOKEN, Service

OPERATIONS = {
    "uploadRecipe": (
        *("/recipe", "post"),
        {"201", "400", "401", "403", "404", "408", "409", "410", "413", "415", "422", "429", "503"},
    ),
    "listRecipes": ("/recipe", "get", {"200", "401", "403", "422", "503"}),
    "getRecipe": ("/recipe/{recipe_id}", "get", {"200", "404", "422", "503"}),
    "renameRecipe": (
        *("/recipe/{recipe_id}", "patch"),
        {"200", "400", "401", "403", "404", "408", "413", "415", "422", "503"},
    ),
    "deleteRecipe": ("/recipe/{recipe_id}", "delete", {"204", "401", "403", "404", "422", "503"}),
    "beginUpload": (
        "/uploads",
        "post",
        {"201", "400", "401", "403", "408", "413", "415", "422", "429", "503"},
    ),
    "getUpload": ("/uploads/{upload_id}", "get", {"200", "404", "410", "422", "429", "503"}),
    "appendToUpload": (
        *("/uploads/{upload_id}", "patch"),
        {"204", "400", "404", "409", "410", "412", "413", "415", "422", "423", "503"},
    ),
    "deleteUpload": ("/uploads/{upload_id}", "delete", {"204", "404", "410", "422", "503"}),
    "getRendition": ("/recipe/{recipe_id}/photo/{size}", "get", {"302", "404", "422", "503"}),
    "beginUppyForm": ("/uppy/s3/params", "get", {"200", "401", "403", "413", "422", "429", "503"}),
    "beginUppyParts": (
        "/uppy/s3/multipart",
        "post",
        {"200", "400", "401", "403", "408", "413", "415", "422", "429", "503"},
    ),
    "listUppyParts": ("/uppy/s3/multipart/{upload_id}", "get", {"200", "404", "410", "422", "429", "503"}),
    "signUppyParts": ("/uppy/s3/multipart/{upload_id}/batch", "get", {"200", "404", "410", "422", "503"}),
    "signUppyPart": ("/uppy/s3/multipart/{upload_id}/{part_number}", "get", {"200", "404", "410", "422", "503"}),
    "completeUppyParts": (
        "/uppy/s3/multipart/{upload_id}/complete",
        "post",
        {"200", "404", "409", "410", "422", "429", "503"},
    ),
    "abortUppyParts": ("/uppy/s3/multipart/{upload_id}", "delete", {"200", "404", "410", "422", "503"}),
    "healthz": ("/healthz", "get", {"200"}),
    "readyz": ("/readyz", "get", {"200", "503"}),
}

ROOT = Path(__file__).parents[2]

_SCHEMATHESIS = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429, "5xx"]
"""
"""Its default, and 412, by which tus rejects requests without `Tus-Resumable`."""


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as opened:
        yield opened


@pytest.fixture
def document(make_settings: Callable[..., Settings]) -> dict[str, Any]:
    """The document of a service that requires tokens, which is the most complete."""
    return create_app(make_settings(API_TOKENS=f"tests:{API_TOKEN}")).openapi()


def test_it_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_it_lists_every_operation_with_every_status(document: dict[str, Any]) -> None:
    found = {
        operation["operationId"]: (path, method, set(operation["responses"]))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }

    assert found == OPERATIONS


def test_no_token_is_documented_if_none_is_required(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()

    for operation_id in ("uploadRecipe", "listRecipes"):
        path, method, _ = OPERATIONS[operation_id]
        assert "security" not in document["paths"][path][method]
        assert "401" not in document["paths"][path][method]["responses"]


def test_every_error_is_a_problem_with_examples(document: dict[str, Any]) -> None:
    problem = OAS31Validator(document["components"]["schemas"]["Problem"])
    for path, method, statuses in OPERATIONS.values():
        for status in sorted(each for each in statuses if each >= "400"):
            (media_type,) = document["paths"][path][method]["responses"][status]["content"].items()
            name, described = media_type
            assert name == "application/problem+json"
            assert described["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert described["examples"]
            for code, example in described["examples"].items():
                problem.validate(example["value"])
                assert example["value"]["type"] == f"/problems/{code}"
                assert str(example["value"]["status"]) == status


def test_it_documents_the_headers_that_clients_need(document: dict[str, Any]) -> None:
    answers = document["paths"]["/recipe"]["post"]["responses"]

    limits = {"RateLimit", "RateLimit-Policy"}
    assert set(answers["201"]["headers"]) == {"Location", "Idempotency-Replayed"} | limits
    assert set(answers["429"]["headers"]) == {"Retry-After"} | limits
    redirect = document["paths"]["/recipe/{recipe_id}/photo/{size}"]["get"]["responses"]["302"]
    assert set(redirect["headers"]) == {"Location", "Cache-Control"}
    assert {status for status, answer in answers.items() if "Retry-After" in answer.get("headers", {})} == {
        "409",
        "429",
        "503",
    }


def test_every_example_matches_its_schema(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    examples = {name: schema.get("examples", []) for name, schema in schemas.items()}

    assert {name for name, found in examples.items() if found} >= {"RecipeOut", "CreatedRecipeOut"}
    for name, found in examples.items():
        for example in found:
            OAS31Validator(schemas[name] | {"components": document["components"]}).validate(example)


def test_the_form_has_a_text_field_and_a_file(document: dict[str, Any]) -> None:
    body = document["paths"]["/recipe"]["post"]["requestBody"]

    assert body["required"] is True
    assert body["content"].keys() == {"multipart/form-data", "application/json"}
    assert body["content"]["multipart/form-data"]["schema"] == {"$ref": "#/components/schemas/RecipeUpload"}
    schema = document["components"]["schemas"]["RecipeUpload"]
    assert set(schema["required"]) == set(schema["properties"]) == {"label", "photo"}


def test_responses_match_their_schemas(document: dict[str, Any], client: httpx.Client) -> None:
    def validate(name: str, answer: httpx.Response) -> None:
        schema = document["components"]["schemas"][name] | {"components": document["components"]}
        OAS31Validator(schema).validate(answer.json())

    created = post(client)
    validate("CreatedRecipeOut", created)
    validate("RecipeOut", client.get(created.headers["Location"]))
    validate("RecipePageOut", client.get("/recipe"))
    validate("Problem", client.get("/recipe?limit=0"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "closed",
    [pytest.param(False, id="open to all", marks=pytest.mark.exhaustive), pytest.param(True, id="with API tokens")],
)
def test_schemathesis_finds_no_violation(
    start_service: Callable[..., Service], tmp_path: Path, *, closed: bool
) -> None:
    # With an API token if tokens are required: otherwise, almost every response would be 401.
    service = start_service(API_TOKENS=f"tests:{API_TOKEN}" if closed else "", LOG_LEVEL="error")
    # Without the coverage phase, which considers an empty text in a form valid, whatever minLength says.
    phases = "examples,fuzzing,stateful" if closed else "examples,fuzzing"
    (tmp_path / "schemathesis.toml").write_text(_SCHEMATHESIS)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json"),
            *("--checks", "all", "--max-examples", "30", "--seed", "1", "--phases", phases),
            *("--generation-database", "none", "--no-color"),
            *(["--header", f"Authorization: Bearer {API_TOKEN}"] if closed else []),
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(Path(schemathesis_hooks.__file__)), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )

    assert run.returncode == 0, run.stdout + run.stderr
