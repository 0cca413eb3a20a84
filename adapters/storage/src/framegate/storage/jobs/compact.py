r"""The compact layout of a job whose texts repeat each other: each is stored once.

The plain layout repeats the whole prompts of the request in each shot, and the prompts of a storyboard's
shots once more in that of the request. The compact one has all texts in one list, and where the plain one has
a text it has the numbers of the pieces of which that consists:

    {"texts": ["a boat", "\nanime, clean lines"],
     "request": {"prompt": [0], …}, "shots": [{"prompt": [0, 1], "caption": [0], …}, …], …}

Everything else is the same in both.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from framegate.core.jobs import Job
from framegate.core.types import GenerationRequest, Shot, StoryboardShot

ENOUGH = 4096
"""Characters that a job repeats before it is stored in this layout, which earlier versions can't read."""

_TEXTS = ("prompt", "negative_prompt", "caption")


def is_compact(job: Job) -> bool:
    """Return whether the job repeats so much text that it is stored in the compact layout."""
    texts = [text for holder in _holders(job) for text in _texts_of(holder)]
    return sum(map(len, texts)) - sum(map(len, set(texts))) > ENOUGH


def encode_compact(job: Job) -> bytes:
    """Return the job as JSON in the compact layout."""
    record = msgspec.to_builtins(job)
    texts = _Texts()
    request = record["request"]
    scenes = [shot["prompt"] for shot in request.get("storyboard", ())]
    _replace_texts(request, texts, scenes)
    for part in _parts(record):
        _replace_texts(part, texts, [part["caption"]] if part.get("caption") else [])
    return msgspec.json.encode({"texts": texts.known, **record})


def expand(record: dict[str, Any]) -> dict[str, Any]:
    """Return the plain layout of a compact record, both as plain JSON values.

    Texts that consist of the same pieces share their memory.

    Raises:
        LookupError, TypeError, AttributeError: The record is damaged.
    """
    texts = record.pop("texts")
    joined: dict[tuple[int, ...], str] = {}
    for holder in (record["request"], *_parts(record)):
        for name in _TEXTS:
            if name in holder:
                pieces = tuple(holder[name])
                if pieces not in joined:
                    joined[pieces] = "".join([texts[number] for number in pieces])
                holder[name] = joined[pieces]
    return record


class _Texts:
    """The texts of a record, each once. ``known`` are those that it has so far."""

    def __init__(self) -> None:
        self.known: list[str] = []
        self._numbers: dict[str, int] = {}

    def pieces(self, text: str, parts: Iterable[str]) -> list[int]:
        """Return the numbers of the pieces of ``text``: those ``parts`` that follow in it, and the rest."""
        return [self._number(piece) for piece in _cut(text, parts)]

    def _number(self, piece: str) -> int:
        if piece not in self._numbers:
            self._numbers[piece] = len(self.known)
            self.known.append(piece)
        return self._numbers[piece]


def _cut(text: str, parts: Iterable[str]) -> Iterator[str]:
    start = 0
    for part in parts:
        found = text.find(part, start) if part else -1
        if found >= 0:
            if found > start:
                yield text[start:found]
            yield part
            start = found + len(part)
    if start < len(text):
        yield text[start:]


def _replace_texts(holder: dict[str, Any], texts: _Texts, parts: Sequence[str]) -> None:
    for name in _TEXTS:
        if name in holder:
            holder[name] = texts.pieces(holder[name], parts)


def _parts(record: dict[str, Any]) -> Sequence[dict[str, Any]]:
    return [*record["request"].get("storyboard", ()), *record["shots"]]


def _holders(job: Job) -> Iterator[GenerationRequest | StoryboardShot | Shot]:
    yield job.request
    yield from job.request.storyboard
    yield from job.shots


def _texts_of(holder: GenerationRequest | StoryboardShot | Shot) -> Iterator[str]:
    for name in _TEXTS:
        yield getattr(holder, name, None) or ""
