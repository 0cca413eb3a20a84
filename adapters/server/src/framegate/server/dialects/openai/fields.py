"""Fields and prompts that OpenAI's APIs and their extensions share."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias

from msgspec import Meta

from framegate.core.admission import MAX_PROMPT
from framegate.core.errors import InvalidRequest
from framegate.server.errors.field_errors import FieldError

Seed: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1, description="Random if omitted")]
Steps: TypeAlias = Annotated[int, Meta(ge=1, le=1000, description="Denoising steps")]

MAX_MENTIONS = 20
_MENTION = re.compile(r"(?<![\w@.])@(\w{1,64})", re.ASCII)
_SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})", re.ASCII)


def require_readable(text: str, param: str) -> None:
    """Refuse a prompt that is too long to be read, before anything does; ``param`` is its field.

    Raises:
        InvalidRequest: It has more than `MAX_PROMPT` characters.
    """
    if len(text) > MAX_PROMPT:
        raise InvalidRequest(
            f"The prompt has {len(text):,} characters; at most {MAX_PROMPT:,} are accepted.", param=param
        )


def parse_size(text: str) -> tuple[int, int] | None:
    """Return width and height of a size such as ``1280x720``; None if ``text`` is not one."""
    sides = _SIZE.fullmatch(text)
    return (int(sides[1]), int(sides[2])) if sides else None


def steps_errors(values: Mapping[str, Any]) -> Iterable[FieldError]:
    """Yield an error if a request names two different numbers of steps."""
    steps = values.get("steps"), values.get("num_inference_steps")
    if None not in steps and steps[0] != steps[1]:
        message = "This conflicts with num_inference_steps; give only one of them"
        yield FieldError(("steps",), "value_error", message, steps[0])


def find_mentions(prompt: str) -> tuple[str, ...]:
    """Return the characters that a prompt mentions as ``@username``, lower-cased, each once."""
    names = dict.fromkeys(name.lower() for name in _MENTION.findall(prompt))
    return tuple(names)[:MAX_MENTIONS]
