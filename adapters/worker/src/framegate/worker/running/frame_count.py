"""Hold backends to the number of frames that was planned."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from framegate.core.errors import GenerationFailed

if TYPE_CHECKING:
    from framegate.core.backend import Frame


def require_frame_count(frames: "Iterator[Frame]", count: int) -> "Iterator[Frame]":
    """Yield ``count`` frames, and check that there are no more.

    Raises:
        GenerationFailed: There are more or fewer.
    """
    made = 0
    for frame in frames:
        made += 1
        if made > count:
            break
        yield frame
    if made != count:
        found = "more" if made > count else f"{made}"
        raise GenerationFailed(f"{count} frames were planned; the model made {found}.")
