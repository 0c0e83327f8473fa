"""The statements that insert uploaded rows: any number of rows in one statement, with an array for each column.

All statements are idempotent: running one again with the same rows has no further effect.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ARRAY, Float, LargeBinary, Text, Uuid, and_, bindparam, column, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.selectable import CTE, NamedFromClause
from sqlalchemy.types import TypeEngine
from sqlmodel import col, update

from recipe_api.database.models import IdempotencyKey, Recipe, RecipeBase, StagedUpload

CLAIMED = "id"
"""The column that `ROWS_WITH_KEYS` and `ROWS_OF_UPLOADS` return: the ids of recipes whose claims were valid."""

_Columns = Sequence[tuple[str, TypeEngine[Any]]]

# Of the columns that an upload sets. The parameters are arrays, which have no collation.
_RECIPE: _Columns = [
    (each.name, Text() if isinstance(each.type, Text) else each.type)
    for each in Recipe.metadata.tables["recipe"].columns
    if each.name in RecipeBase.model_fields
]
_CLAIM: _Columns = [
    ("claim_scope", Text()),
    ("claim_key", Text()),
    ("claim_id", Uuid()),
    ("claim_fingerprint", LargeBinary()),
    ("claim_kept", Float()),  # seconds
]
_COMPLETION: _Columns = [("upload_id", Text()), ("upload_claim", Uuid())]
_NAMES = [name for name, _ in _RECIPE]


def _parameter_table(columns: _Columns) -> NamedFromClause:
    """Return the array parameters as a table."""
    arrays = (bindparam(name, type_=ARRAY(kind)) for name, kind in columns)
    return func.unnest(*arrays).table_valued(*(column(name, kind) for name, kind in columns)).render_derived()


def _inserted(given: CTE, claimed: CTE) -> CTE:
    """Return the insertion of those of the given recipes whose claims are valid."""
    recipes = select(*(given.c[name] for name in _NAMES)).where(given.c.id.in_(select(claimed.c.id)))
    statement = insert(Recipe).from_select(_NAMES, recipes)
    return statement.on_conflict_do_nothing(index_elements=["id"]).cte("recorded")


ROWS = (
    insert(Recipe)
    .from_select(_NAMES, select(*_parameter_table(_RECIPE).c))
    .on_conflict_do_nothing(index_elements=["id"])
)
"""Insert recipes."""

_rows_with_claims = select(*_parameter_table([*_RECIPE, *_CLAIM]).c).cte("given")
_finished = (
    update(IdempotencyKey)
    .where(
        col(IdempotencyKey.scope) == _rows_with_claims.c.claim_scope,
        col(IdempotencyKey.key) == _rows_with_claims.c.claim_key,
        col(IdempotencyKey.claim) == _rows_with_claims.c.claim_id,
        or_(col(IdempotencyKey.recipe_id).is_(None), col(IdempotencyKey.recipe_id) == _rows_with_claims.c.id),
    )
    .values(
        recipe_id=_rows_with_claims.c.id,
        fingerprint=_rows_with_claims.c.claim_fingerprint,
        expires_at=func.now() + _rows_with_claims.c.claim_kept * literal_column("interval '1 second'"),
    )
    .returning(_rows_with_claims.c.id)
    .cte("finished")
)
ROWS_WITH_KEYS = select(_finished.c.id).add_cte(_inserted(_rows_with_claims, _finished))
"""Finish claimed keys and insert their recipes, except where another request has claimed the key since."""

_rows_of_uploads = select(*_parameter_table([*_RECIPE, *_COMPLETION]).c).cte("completing")
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
    .values(recipe_id=_rows_of_uploads.c.id)
    .returning(_rows_of_uploads.c.id)
    .cte("completed")
)
ROWS_OF_UPLOADS = select(_completed.c.id).add_cte(_inserted(_rows_of_uploads, _completed))
"""Complete claimed uploads and insert their recipes, except where another request has claimed or ended the upload."""
