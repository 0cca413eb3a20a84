"""What decoder processes are asked to do, and what they reply: the messages of their pipes.

The server's process imports this module, and with it neither Pillow nor PyAV nor numpy.
"""

from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from framegate.core.types import Variant

Value = TypeVar("Value")

HEADER_BYTES = 4
"""Each message follows its length, a big-endian integer of this many bytes."""
MAX_REPLY = 64 * 2**10


class _Message(Struct, frozen=True, tag=True):
    pass


class DecodeImage(_Message, frozen=True):
    """Decode an image, and write it to ``target`` as `decode_image` returns it."""

    source: Path
    target: Path


class NormalizeMask(_Message, frozen=True):
    """Decode a mask, and write it to ``target`` in that size; see `normalize_mask`."""

    source: Path
    target: Path
    width: int
    height: int
    ignore_alpha: bool = False


class MakeCollage(_Message, frozen=True):
    """Put images side by side in ``target``, and the mask, if there is one, in ``mask_target``."""

    sources: tuple[Path, ...]
    target: Path
    mask: Path | None
    mask_target: Path


class ProbeVideo(_Message, frozen=True):
    """Check and describe a video; see `probe_video`."""

    source: Path


class ExtractFrame(_Message, frozen=True):
    """Write the frame that a video shows at ``seconds`` to ``target``."""

    source: Path
    target: Path
    seconds: float


class MakePortrait(_Message, frozen=True):
    """Write ``avatar.png`` and ``reference.png`` to ``folder``; see `make_portrait`.

    The former is cropped from the latter, whose size is the result.
    """

    source: Path
    folder: Path
    start: float
    end: float
    length: float


class MakeVariant(_Message, frozen=True):
    """Write an image made from a result to ``target``; ``quality`` (0–100) applies to JPEG and WebP."""

    source: Path
    target: Path
    variant: Variant
    quality: int


DecoderTask: TypeAlias = (
    DecodeImage | NormalizeMask | MakeCollage | ProbeVideo | ExtractFrame | MakePortrait | MakeVariant
)


class MediaInfo(_Message, frozen=True):
    """A task was done: the size in pixels of what it wrote or described, and a video's frames."""

    width: int
    height: int
    num_frames: int = 1
    fps: float = 0.0


class Refused(_Message, frozen=True):
    """The media can't be decoded: the caller's `InvalidMedia`."""

    message: str
    param: str | None = None


class Exhausted(_Message, frozen=True):
    """The task reached a limit of its process."""

    resource: Literal["memory"]


class SystemFailure(_Message, frozen=True):
    """The operating system refused something, such as room on the disk."""

    errno: int


class Crashed(_Message, frozen=True):
    """Something unforeseen went wrong; ``details`` is for the log."""

    details: str


Reply: TypeAlias = MediaInfo | Refused | Exhausted | SystemFailure | Crashed


class Envelope(Struct, frozen=True):
    """A reply, and whether the process ends after it."""

    reply: Reply
    retiring: bool = False


class DecoderLimits(Struct, frozen=True):
    """The limits of a decoder process: ``timeout`` seconds a task, by the clock and of CPU time alike.

    ``memory`` is in bytes, for all that the process uses. After ``max_tasks`` tasks, or above
    ``retire_above`` bytes of resident memory, it makes room for a fresh one.
    """

    timeout: float = 30.0
    memory: int = 1536 * 2**20
    max_tasks: int = 500
    retire_above: int = 400 * 2**20


def encode(message: object) -> bytes:
    """Return a message with its length before it."""
    body = msgspec.msgpack.encode(message, enc_hook=str)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def decode(body: bytes, message_type: type[Value]) -> Value:
    """Return the message that ``body`` holds.

    Raises:
        msgspec.DecodeError: It holds no such message.
    """
    return msgspec.msgpack.decode(body, type=message_type, dec_hook=_decode_path)


def decode_task(body: bytes) -> DecoderTask:
    """Return the task that ``body`` holds.

    Raises:
        msgspec.DecodeError: It holds none.
    """
    task: DecoderTask = msgspec.msgpack.decode(body, type=DecoderTask, dec_hook=_decode_path)
    return task


def _decode_path(kind: type[Any], value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(kind)  # as msgspec asks of a hook that doesn't know a type
