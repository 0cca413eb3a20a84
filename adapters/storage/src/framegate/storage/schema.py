"""The schema version of stored records, and the migrations from earlier schemas.

While hosts are updated one by one, processes of two versions share one Valkey. What the Lua scripts read and
write (names of keys, fields of hashes, lanes, a job's ``webhooks``) is therefore the same in all
versions. What only Python reads may change: the JSON of jobs, artifacts, errors, characters and API keys, and
the fields of webhook deliveries. Each of these records says by its `Stamp` how it is laid out and who wrote
it. Readers ignore members that they don't know, so what an earlier version would misread needs a new
`SCHEMA`.

A record of a later schema is left to a host that can read it. `Layout` raises `NewerRecord`; lists and a
worker's claim pass over the record. One that nobody can read raises `UnreadableRecord`: lists leave it out as
well, but a worker that claims such a job ends it as failed. Neither is in the way of other records, and what
has to be known of every job, such as the keys of its files, stands in fields of its own.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
import structlog
from msgspec import Struct

from framegate.core.errors import Unavailable, UnreadableRecord

log = structlog.get_logger(__name__)

PLAIN, COMPACT = 2, 3
SCHEMA = COMPACT
"""The latest schema that is read. 1: as 0.1 wrote it, without a stamp. 2: the same, with a stamp. 3: the
texts of a job stand in a list, each once (`framegate.storage.jobs.compact`).

Each record is written in the earliest schema that can hold it, so that earlier versions read it: all but jobs
whose texts are long and repeated are `PLAIN`."""

Record = TypeVar("Record")
Stored = TypeVar("Stored")
Migration: TypeAlias = Callable[[Any], Any]
"""Turn a record, as plain JSON values, from one schema into the next."""


DAMAGE = (
    msgspec.MsgspecError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What decoding a damaged record may raise."""


class NewerRecord(UnreadableRecord, Unavailable):
    """A record was written by a later version, in a layout that this one can't read; another host can."""

    code = "unavailable"


class Stamp(Struct, frozen=True):
    """A record's schema and the version that wrote it; the defaults apply to records without a stamp."""

    schema: int = 1
    written_by: str = "0.1"

    @property
    def arguments(self) -> list[int | str]:
        """The stamp as the scripts take it."""
        return [self.schema, self.written_by]


@cache
def own_stamp(schema: int = PLAIN) -> Stamp:
    """Return the stamp of what this process writes in a schema."""
    return Stamp(schema, version("framegate-storage"))


@contextmanager
def damage_as_unreadable(what: str) -> Generator[None]:
    """Turn whatever decoding ``what`` ("This job") raises for damaged text into `UnreadableRecord`."""
    try:
        yield
    except DAMAGE as error:
        raise UnreadableRecord(f"{what} is damaged ({type(error).__name__}: {str(error)[:200]}).") from None


def read_stamp(fields: Mapping[str, str], prefix: str = "") -> Stamp:
    """Return the stamp in the fields of a hash whose names begin with ``prefix``.

    Raises:
        ValueError: The number of the schema is none.
    """
    schema = fields.get(f"{prefix}schema")
    return Stamp(int(schema), fields.get(f"{prefix}written_by", "")) if schema else Stamp()


def require_readable(stamp: Stamp) -> None:
    """Raise `NewerRecord` if a later version wrote the record, in a layout that this one can't read."""
    if stamp.schema > SCHEMA:
        raise NewerRecord(
            f"This was stored by Framegate {stamp.written_by}; this host runs {own_stamp().written_by}, "
            "which can't read it. Update Framegate on this host."
        )


def unchanged(record: Any) -> Any:
    """Migrate a record to a schema that changed nothing in its kind."""
    return record


def decode_readable(decode: Callable[[Stored], Record], stored: Iterable[Stored]) -> list[Record]:
    """Decode what is stored, leaving out what can't be read, such as what later versions wrote.

    The log has a line about it.
    """
    found: list[Record] = []
    left_out: list[UnreadableRecord] = []
    for each in stored:
        try:
            found.append(decode(each))
        except UnreadableRecord as error:
            left_out.append(error)
    if left_out:
        log.warning("records_left_out", records=len(left_out), reason=left_out[0].message)
    return found


class Layout(Generic[Record]):
    """How one kind of record is read, whichever version wrote it.

    ``migrations`` lead from schema 1 to 2, from 2 to 3 and so on; schemas that are later than they lead to
    changed nothing in its kind.
    """

    def __init__(self, kind: type[Record], *migrations: Migration) -> None:
        assert len(migrations) < SCHEMA
        self._kind = kind
        self._migrations = migrations
        self._decoder = msgspec.json.Decoder(kind)
        changes = [number for number, migrate in enumerate(migrations, start=2) if migrate is not unchanged]
        self._unchanged_since = max(changes, default=1)

    def decode(self, text: str, stamp: Stamp) -> Record:
        """Return the record whose JSON is ``text``.

        Raises:
            NewerRecord: A later version wrote it in a layout of its own.
        """
        if self._unchanged_since <= stamp.schema <= SCHEMA:
            return self._decoder.decode(text)
        return msgspec.convert(self._migrate(msgspec.json.decode(text), stamp), self._kind)

    def convert(self, fields: Mapping[str, str], stamp: Stamp) -> Record:
        """Return the record whose fields are those of a hash: texts that may stand for numbers.

        Raises:
            NewerRecord: A later version wrote it in a layout of its own.
        """
        return msgspec.convert(self._migrate(fields, stamp), self._kind, strict=False)

    def _migrate(self, record: Any, stamp: Stamp) -> Any:
        require_readable(stamp)
        if stamp.schema < 1:
            raise ValueError(f"there is no schema {stamp.schema}")
        for migrate in self._migrations[stamp.schema - 1 :]:
            record = migrate(record)
        return record
