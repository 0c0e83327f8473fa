"""The scope of a sweep, its findings, and its counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from recipe_api.storage import keys


class FindingKind(StrEnum):
    """The ways in which bucket and table can disagree."""

    ORPHAN = "orphan"
    MISSING = "missing"
    LOST = "lost"
    DANGLING = "dangling"
    PENDING = "pending"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One disagreement between bucket and table."""

    kind: FindingKind
    key: str
    size: int | None = None
    """Size of an orphan in bytes."""
    since: datetime | None = None
    """When the object was written, the multipart upload was started, or the deletion was requested."""
    fixed: bool = False
    other_bucket: bool = False
    """Whether the object of a pending deletion is, or may be, in another bucket."""


@dataclass(slots=True)
class Tally:
    """The counts of a sweep so far."""

    objects: int = 0
    renditions: int = 0
    """How many of the objects are renditions."""
    rows: int = 0
    foreign: int = 0
    """Objects whose keys do not have this service's format."""
    pairs: int = 0
    """Photos that have a row."""
    other_bucket: int = 0
    """Rows whose photo is not in this bucket, and belongs to another or an unknown one."""
    orphans: int = 0
    orphan_renditions: int = 0
    """How many of the orphans are renditions."""
    orphan_pieces: int = 0
    """How many of the orphans are pieces of staged uploads."""
    missing: int = 0
    lost: int = 0
    dangling: int = 0
    pending: int = 0
    expired: int = 0
    """Staged uploads that were not completed in time."""

    @property
    def by_kind(self) -> dict[FindingKind, int]:
        """The number of findings of each kind."""
        return {
            FindingKind.ORPHAN: self.orphans,
            FindingKind.MISSING: self.missing,
            FindingKind.LOST: self.lost,
            FindingKind.DANGLING: self.dangling,
            FindingKind.PENDING: self.pending,
            FindingKind.EXPIRED: self.expired,
        }

    @property
    def found(self) -> int:
        """The number of findings."""
        return sum(self.by_kind.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Territory:
    """The objects that a sweep considers."""

    prefix: str
    """The prefix of the keys of photos."""
    staging_prefix: str
    """The prefix of the keys of pieces."""
    rendition_sizes: Sequence[int]
    """The sizes of the renditions that this service makes."""
    grace: timedelta
    """The age from which objects and multipart uploads are considered."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The range in which uploads started: from `since`, inclusive, to `until`, exclusive. None leaves an end open."""

    since: datetime | None = None
    until: datetime | None = None

    def bounds(self, prefix: str) -> tuple[str, str | None]:
        """Return the exclusive lower and upper bounds of the keys in this range; the upper one may be None."""
        after = prefix if self.since is None else prefix + keys.lower_bound(self.since)
        if self.until is not None:
            return after, prefix + keys.lower_bound(self.until)
        return after, None
