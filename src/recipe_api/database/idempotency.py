"""Idempotency keys in PostgreSQL: which request has claimed a key, and the result of a finished one.

One request at a time can claim a key, for a minute at a time. It renews the claim while it works, and a process that
dies loses it. The statement that inserts the recipe also finishes the key, so that only one of two requests with the
same key can commit. All times are those of the database, because the clocks of two dynos differ.
"""

from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel.ext.asyncio.session import AsyncSession

from recipe_api.database.models import IdempotencyKey
from recipe_api.database.session import session, translate_commit_errors
from recipe_api.errors import CommitInDoubt, IdempotencyKeyInUse

CLAIM_SECONDS = 60
"""How long a claim lasts unless it is renewed."""

_CLAIM = text(
    """
    INSERT INTO idempotency_key AS held (scope, key, claim, claimed_until, expires_at)
    VALUES (:scope, :key, :claim, now() + :lasts * interval '1 second', now() + :kept * interval '1 second')
    ON CONFLICT (scope, key) DO UPDATE
    SET claim = excluded.claim, claimed_until = excluded.claimed_until, expires_at = excluded.expires_at,
        fingerprint = NULL, recipe_id = NULL
    WHERE CASE WHEN held.recipe_id IS NULL THEN held.claimed_until < now() OR held.claim = excluded.claim
               ELSE held.expires_at < now() END
    RETURNING 1
    """
)
_RENEW = text(
    """
    UPDATE idempotency_key
    SET claimed_until = now() + :lasts * interval '1 second', expires_at = now() + :kept * interval '1 second'
    WHERE scope = :scope AND key = :key AND claim = :claim AND recipe_id IS NULL
    """
)
_RELEASE = text(
    "DELETE FROM idempotency_key WHERE scope = :scope AND key = :key AND claim = :claim AND recipe_id IS NULL"
)
_FORGET = text(
    "DELETE FROM idempotency_key"
    " WHERE CASE WHEN recipe_id IS NULL THEN claimed_until < now() ELSE expires_at < now() END"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to finish a key."""

    scope: str
    key: str
    id: UUID


@dataclass(frozen=True, slots=True)
class Finished:
    """A claim, with the values that finish its key."""

    claim: Claim
    fingerprint: bytes
    kept_seconds: float

    def values(self) -> dict[str, object]:
        """Return the JSON values that the statement needs in addition to the recipe."""
        return {
            "claim_scope": self.claim.scope,
            "claim_key": self.claim.key,
            "claim_id": self.claim.id,
            "claim_fingerprint": f"\\x{self.fingerprint.hex()}",  # the text form of a bytea
            "claim_kept": float(self.kept_seconds),
        }


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a finished key."""

    fingerprint: bytes
    recipe_id: UUID


class IdempotencyKeys:
    """The table of keys. Every method may raise `DatabaseUnavailable`.

    Args:
        engine: The database.
        kept_seconds: How long a finished key is kept, in seconds.
    """

    compares_uploads = True

    def __init__(self, engine: AsyncEngine, *, kept_seconds: float) -> None:
        self._engine = engine
        self._kept_seconds = kept_seconds

    async def claim(self, scope: str, key: str) -> Claim | Done:
        """Claim a key, or return its result if it is finished.

        Raises:
            IdempotencyKeyInUse: Another request has claimed the key.
        """
        claim = Claim(scope, key, uuid4())
        try:
            return await self._try_claim(claim)
        except CommitInDoubt:  # the second attempt recognizes a claim that the first one has committed
            return await self._try_claim(claim)

    async def _try_claim(self, claim: Claim) -> Claim | Done:
        async with session(self._engine) as opened:
            claimed = (await (await opened.connection()).execute(_CLAIM, self._values(claim))).one_or_none()
            done = await _done(opened, claim) if claimed is None else None
            with translate_commit_errors():
                await opened.commit()
        if claimed is not None:
            return claim
        if done is None:
            raise IdempotencyKeyInUse(
                "An upload with this Idempotency-Key is still in progress. Try again in a moment."
            )
        return done

    async def renew(self, claim: Claim) -> None:
        """Extend a claim by `CLAIM_SECONDS` from now."""
        await self._run(_RENEW, self._values(claim))

    async def release(self, claim: Claim) -> None:
        """Release a claim without finishing its key."""
        await self._run(_RELEASE, {"scope": claim.scope, "key": claim.key, "claim": claim.id})

    async def delete_expired(self) -> None:
        """Delete keys and claims that have expired."""
        await self._run(_FORGET, {})

    def finished(self, claim: Claim, fingerprint: bytes) -> Finished:
        """Return what finishes the key, to be written together with the row."""
        return Finished(claim, fingerprint, self._kept_seconds)

    async def _run(self, statement: TextClause, values: dict[str, object]) -> None:
        async with session(self._engine) as opened:
            await (await opened.connection()).execute(statement, values)
            await opened.commit()

    def _values(self, claim: Claim) -> dict[str, object]:
        return {
            "scope": claim.scope,
            "key": claim.key,
            "claim": claim.id,
            "lasts": CLAIM_SECONDS,
            "kept": self._kept_seconds,
        }


async def _done(opened: AsyncSession, claim: Claim) -> Done | None:
    found = await opened.get(IdempotencyKey, (claim.scope, claim.key))
    if found is None or found.fingerprint is None or found.recipe_id is None:
        return None
    return Done(found.fingerprint, found.recipe_id)
