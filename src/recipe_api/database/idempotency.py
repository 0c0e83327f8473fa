"""Idempotency keys in PostgreSQL: who works on a key, and what became of it.

A key is claimed by one request at a time, for a minute at a time: whoever works renews the claim, and a process that
died loses it. The claim is finished in the statement that writes the recipe, so that of two requests with one key
only one can commit. All times are the database's, since the clocks of two dynos differ.
"""

from dataclasses import dataclass
from uuid import UUID, uuid4

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from recipe_api.database.models import IdempotencyKey, Recipe
from recipe_api.database.session import in_doubt, session
from recipe_api.errors import CommitInDoubt, KeyInUse

CLAIM_SECONDS = 60
"""How long a claim lasts that nobody renews."""

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
    """A claim with what it is to be finished with."""

    claim: Claim
    fingerprint: bytes
    kept_seconds: float

    def values(self) -> dict[str, object]:
        """What the statement is given that finishes it."""
        return {
            "claim_scope": self.claim.scope,
            "claim_key": self.claim.key,
            "claim_id": self.claim.id,
            "claim_fingerprint": self.fingerprint,
            "claim_kept": float(self.kept_seconds),
        }


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a key."""

    fingerprint: bytes
    recipe: Recipe


class IdempotencyKeys:
    """The table of keys. Every method may raise `DatabaseUnavailable`.

    Args:
        engine: The database.
        kept_seconds: How long a finished key is kept.
    """

    def __init__(self, engine: AsyncEngine, *, kept_seconds: float) -> None:
        self._engine = engine
        self.kept_seconds = kept_seconds

    async def claim(self, scope: str, key: str) -> Claim | Done:
        """The right to finish a key, or what became of it.

        Raises:
            KeyInUse: Another request works on it.
        """
        claim = Claim(scope, key, uuid4())
        try:
            return await self._claimed(claim)
        except CommitInDoubt:  # whoever has the key need not be told that it is in use
            return await self._claimed(claim)

    async def _claimed(self, claim: Claim) -> Claim | Done:
        async with session(self._engine) as opened:
            claimed = (await (await opened.connection()).execute(_CLAIM, self._values(claim))).one_or_none()
            done = await _done(opened, claim) if claimed is None else None
            with in_doubt():
                await opened.commit()
        if claimed is not None:
            return claim
        if done is None:
            raise KeyInUse("An upload with this Idempotency-Key is still going on; ask again in a moment.")
        return done

    async def renew(self, claim: Claim) -> None:
        """Keeps a claim for another `CLAIM_SECONDS`."""
        await self._run(_RENEW, self._values(claim))

    async def release(self, claim: Claim) -> None:
        """Gives up a claim that came to nothing."""
        await self._run(_RELEASE, {"scope": claim.scope, "key": claim.key, "claim": claim.id})

    async def forget_expired(self) -> None:
        """Deletes the keys that no longer count."""
        await self._run(_FORGET, {})

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
            "kept": self.kept_seconds,
        }


async def _done(opened: AsyncSession, claim: Claim) -> Done | None:
    statement = select(IdempotencyKey.fingerprint, Recipe).join(Recipe)
    statement = statement.where(IdempotencyKey.scope == claim.scope, IdempotencyKey.key == claim.key)
    found = (await opened.exec(statement)).one_or_none()
    return Done(found[0], found[1]) if found and found[0] is not None else None
