"""The two vocabularies for the states of tasks: the document's, and the real server's. Pure."""

from enum import StrEnum
from typing import Literal, TypeAlias

from msgspec import UNSET, Struct

from framegate.core.jobs import Job

VOCABULARY = "vocabulary"
"""The label of a job that holds its vocabulary."""

VocabularySetting: TypeAlias = Literal["auto", "document", "server"]

_DOCUMENT_FIELDS = frozenset(
    {
        "prompt",
        "negative_prompt",
        "image_path",
        "infer_steps",
        "video_duration",
        "seed",
        "height",
        "width",
        "num_fragments",
    }
)
"""The fields of the document's table. Its clients never send another one, not even at its default."""


class Vocabulary(StrEnum):
    """The words for a task's states: the document's, or the real server's."""

    DOCUMENT = "document"
    SERVER = "server"


def vocabulary_of(setting: VocabularySetting, *, server_client: bool) -> Vocabulary:
    """Return the vocabulary of a task.

    ``server_client`` tells whether its request could only be meant for the real server.
    """
    if setting == "auto":
        return Vocabulary.SERVER if server_client else Vocabulary.DOCUMENT
    return Vocabulary(setting)


def has_server_fields(fields: Struct) -> bool:
    """Return whether a body has a field that only the real server knows, whatever its value.

    Such fields are UNSET where a body doesn't have them.
    """
    return any(
        getattr(fields, name) is not UNSET
        for name in fields.__struct_fields__
        if name not in _DOCUMENT_FIELDS
    )


def job_vocabulary(job: Job) -> Vocabulary:
    """Return the vocabulary of a job's states."""
    return Vocabulary(job.labels.get(VOCABULARY, Vocabulary.DOCUMENT))
