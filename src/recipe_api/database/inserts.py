"""The statements that insert uploaded rows. Each takes any number of rows, as one JSON array of objects.

All statements are idempotent: running one again with the same rows has no further effect.
"""

from collections.abc import Sequence
from itertools import starmap
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Float,
    LargeBinary,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    column,
    func,
    literal_column,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.sql.selectable import CTE
from sqlalchemy.types import TypeEngine
from sqlmodel import col, update

from recipe_api.database.client_usage import adding, restored_at
from recipe_api.database.deletions import requests_of
from recipe_api.database.models import IdempotencyKey, Recipe, RecipeRow, StagedUpload

CLAIMED = "id"
"""The column of statements with claims that contains the ids of recipes whose claims were valid."""

FORGOTTEN: dict[str, Any] = {"filename": literal_column("''"), "label": null(), "upload_metadata": null()}
"""Clears what the client sent, up to 12 KiB, from the row of an upload that has ended and no longer needs it."""

_Columns = Sequence[tuple[str, TypeEngine[Any]]]

_RECIPE: _Columns = [
    (each.name, each.type)
    for each in Recipe.metadata.tables["recipe"].columns
    if each.name not in RecipeRow._field_defaults
]
COLUMNS = [name for name, _ in _RECIPE]
"""The columns of a recipe that an upload sets."""
_CLAIM: _Columns = [
    ("claim_scope", Text()),
    ("claim_key", Text()),
    ("claim_id", Uuid()),
    ("claim_fingerprint", LargeBinary()),
    ("claim_kept", Float()),  # seconds
]
_USAGE: _Columns = [
    ("usage_client", BigInteger()),
    ("usage_uploads", Float()),  # seconds
    ("usage_bytes", Float()),  # seconds
]
_COMPLETION: _Columns = [
    ("upload_id", Text()),
    ("upload_claim", Uuid()),
    ("objects", JSON()),  # its pieces
    ("writable_seconds", Float()),
    ("wait_seconds", Float()),
]


def _given(columns: _Columns) -> Select[Any]:
    """Return a query of the rows in the parameter. The columns are the keys of its JSON objects."""
    rows = bindparam("rows", type_=JSON())
    table = func.json_to_recordset(rows).table_valued(*starmap(column, columns)).render_derived(with_types=True)
    # The limit excludes no row, but changes the planner's estimate. Without it, the planner expects 100 rows, and scans
    # the whole table of keys or uploads as long as that has at most about 15,000 rows. With a limit that it cannot
    # evaluate, it expects 10 rows and uses an index.
    return select(*table.c).limit(select(func.json_array_length(rows)).scalar_subquery())


def _insertion(given: CTE, claimed: CTE | None = None) -> Insert:
    """Return the insertion of the given recipes, or of those whose claims are valid."""
    recipes = select(*(given.c[name] for name in COLUMNS))
    if claimed is not None:
        recipes = recipes.where(given.c.id.in_(select(claimed.c.id)))
    return insert(Recipe).from_select(COLUMNS, recipes).on_conflict_do_nothing(index_elements=["id"])


def _charging(given: CTE, recorded: CTE) -> ReturningInsert[Any]:
    """Return the addition of those of the given charges whose recipes were inserted, once for each client."""
    client = given.c.usage_client
    sums = (restored_at(func.sum(given.c[name])) for name in ("usage_uploads", "usage_bytes"))
    charges = select(client, *sums).where(given.c.id.in_(select(recorded.c.id)))
    return adding(charges.group_by(client).order_by(client))


ROWS = insert(Recipe).from_select(COLUMNS, _given(_RECIPE)).on_conflict_do_nothing(index_elements=["id"])
"""Insert recipes."""


def _finishing(given: CTE) -> CTE:
    """Return the completion of those of the given keys whose claims are valid."""
    finished = update(IdempotencyKey).where(
        col(IdempotencyKey.scope) == given.c.claim_scope,
        col(IdempotencyKey.key) == given.c.claim_key,
        col(IdempotencyKey.claim) == given.c.claim_id,
        or_(col(IdempotencyKey.recipe_id).is_(None), col(IdempotencyKey.recipe_id) == given.c.id),
    )
    return (
        finished.values(
            recipe_id=given.c.id,
            fingerprint=given.c.claim_fingerprint,
            expires_at=func.now() + given.c.claim_kept * literal_column("interval '1 second'"),
        )
        .returning(given.c.id)
        .cte("finished")
    )


_rows_with_claims = _given([*_RECIPE, *_CLAIM]).cte("given")
_finished = _finishing(_rows_with_claims)
ROWS_WITH_KEYS = select(_finished.c.id).add_cte(_insertion(_rows_with_claims, _finished).cte("recorded"))
"""Finish claimed keys and insert their recipes, except where another request has claimed the key since."""

_charged_rows = _given([*_RECIPE, *_USAGE]).cte("given")
_recorded = _insertion(_charged_rows).returning(col(Recipe.id)).cte("recorded")
CHARGED_ROWS = _charging(_charged_rows, _recorded)
"""Insert recipes, and charge those that did not exist to their clients."""

_charged_rows_with_claims = _given([*_RECIPE, *_CLAIM, *_USAGE]).cte("given")
_charged_finished = _finishing(_charged_rows_with_claims)
_charged_recorded = _insertion(_charged_rows_with_claims, _charged_finished).returning(col(Recipe.id)).cte("recorded")
_charged = _charging(_charged_rows_with_claims, _charged_recorded).cte("charged")
CHARGED_ROWS_WITH_KEYS = (
    select(_charged_finished.c.id, _charged)
    .join(_charged_rows_with_claims, _charged_rows_with_claims.c.id == _charged_finished.c.id)
    .outerjoin(_charged, _charged.c.client == _charged_rows_with_claims.c.usage_client)
)
"""Finish claimed keys and insert their recipes as `ROWS_WITH_KEYS` does, and charge those that did not exist."""

_rows_of_uploads = _given([*_RECIPE, *_COMPLETION]).cte("completing")
_completed = (
    update(StagedUpload)
    .where(
        col(StagedUpload.id) == _rows_of_uploads.c.upload_id,
        col(StagedUpload.claim) == _rows_of_uploads.c.upload_claim,
        or_(
            and_(col(StagedUpload.recipe_id).is_(None), col(StagedUpload.ended_at).is_(None)),
            col(StagedUpload.recipe_id) == _rows_of_uploads.c.id,  # sent again, perhaps after a deletion
        ),
    )
    .values(
        recipe_id=_rows_of_uploads.c.id,
        ended_at=func.coalesce(col(StagedUpload.ended_at), func.now()),
        **FORGOTTEN,
    )
    .returning(*(_rows_of_uploads.c[name] for name in ("id", "objects", "writable_seconds", "wait_seconds")))
    .cte("completed")
)
ROWS_OF_UPLOADS = select(_completed.c.id).add_cte(
    _insertion(_rows_of_uploads, _completed).cte("recorded"), requests_of(_completed).cte("requested")
)
"""Complete and end claimed uploads, insert their recipes, and request the deletion of their pieces, except where
another request has claimed or ended the upload."""
