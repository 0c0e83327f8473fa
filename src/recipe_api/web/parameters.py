"""Parameters of routes that receive the request itself: read, validated, and described to OpenAPI by one model."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from recipe_api.web.problems import invalid_parameter

Model = TypeVar("Model", bound=BaseModel)


def query_of(request: Request, model: type[Model]) -> Model:
    """Return the parameters in the query of a request. Of a parameter that is repeated, the last one counts.

    Raises:
        InvalidParameter: One of them is invalid.
    """
    return _validated(dict(request.query_params), model)


def path_of(request: Request, model: type[Model]) -> Model:
    """Return the parameters in the path of a request.

    Raises:
        InvalidParameter: One of them is invalid.
    """
    return _validated(request.path_params, model)


def described(model: type[BaseModel], *, place: str) -> list[dict[str, Any]]:
    """Return the description of a model's fields as parameters for OpenAPI.

    Args:
        model: The model.
        place: Where they are: `query` or `path`.
    """
    document = model.model_json_schema()
    required = document.get("required", [])
    return [
        {"name": name, "in": place, "required": name in required, "schema": schema}
        | ({"description": schema["description"]} if "description" in schema else {})
        for name, schema in document["properties"].items()
    ]


def _validated(values: dict[str, str], model: type[Model]) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid_parameter(error.errors()[0]) from None
