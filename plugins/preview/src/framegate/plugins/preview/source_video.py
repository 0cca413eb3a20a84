"""Input videos, cropped to the frame and never stretched."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path

import numpy as np
from PIL import Image

from framegate.core.errors import GenerationFailed, InvalidMedia
from framegate.media.images.fitting import fit
from framegate.media.video.color import quarter_turns
from framegate.media.video.containers import open_video
from framegate.media.video.probe import describe_video

_REVERSED_BYTES = 96 * 1024 * 1024
"""How much may be held while a video is read backwards."""
_ROUNDING = 1e-6
_ENDLESS = 1e9


def resample_video(path: Path | None, size: tuple[int, int], count: int, fps: float) -> Iterator[Image.Image]:
    """Yield ``count`` frames of a video at ``fps``; one that is too short runs back and forth.

    Raises:
        GenerationFailed: There is no video, or it can't be read.
    """
    if path is None:
        raise GenerationFailed("This task starts from a video, but the job has none.")
    most = max(4, _REVERSED_BYTES // (size[0] * size[1] * 4))
    try:
        info = describe_video(path)
        length = info.duration - 1 / info.fps if info.num_frames > 1 else _ENDLESS
        for turn, indices in groupby(range(count), lambda index: int(index / fps / length)):
            times = [index / fps - turn * length for index in indices]
            if turn % 2 == 0:
                yield from _shown_at(path, times, size)
                continue
            for start in range(0, len(times), most):
                ascending = [length - time for time in reversed(times[start : start + most])]
                yield from reversed(list(_shown_at(path, ascending, size)))
    except (InvalidMedia, OSError) as error:
        raise GenerationFailed("The input video can't be read.") from error


def _shown_at(path: Path, times: Sequence[float], size: tuple[int, int]) -> Iterator[Image.Image]:
    """Yield what a video shows at each of ``times`` (seconds after its first frame, ascending)."""
    with open_video(path) as (container, stream):
        start = float((stream.start_time or 0) * (stream.time_base or 0))
        if times[0] > 0.0 and stream.time_base:
            container.seek(int((start + times[0]) / stream.time_base), stream=stream)
        done, shown = 0, None
        for frame in chain((frame for frame in container.decode(stream) if frame.pts is not None), [None]):
            until = bisect_left(times, frame.time - start - _ROUNDING) if frame else len(times)
            if shown and until > done:
                # `to_rgb` is exact, but takes longer than everything else here together.
                pixels = np.rot90(shown.to_ndarray(format="rgb24"), quarter_turns(shown))
                image = fit(Image.fromarray(pixels), *size)
                yield from [image] * (until - done)
                done = until
            if done == len(times):
                return
            shown = frame
    raise InvalidMedia("The video has nothing to decode.")
