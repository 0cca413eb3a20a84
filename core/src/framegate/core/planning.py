"""From a fitted request to the shots that make it. Pure.

A shot that continues the previous one (or the first one, if it continues the video that is extended) is
conditioned on its last frame. It makes that frame again as its own first one and drops it, so that no frame
is repeated or skipped at a seam.
"""

from itertools import accumulate, pairwise

from msgspec import Struct

from framegate.core.errors import InvalidRequest
from framegate.core.fitting import FittedRequest
from framegate.core.models import ModelSpec
from framegate.core.types import Shot, Task

MAX_SHOTS = 64


class _Scene(Struct, frozen=True):
    """A part of the video with one prompt, made in at least ``pieces`` shots."""

    prompt: str
    num_frames: int
    pieces: int = 1


def plan(spec: ModelSpec, fitted: FittedRequest, seed: int, *, style_prompt: str = "") -> tuple[Shot, ...]:
    """Return the shots of ``fitted``, whose kept frames add up to ``fitted.num_frames``.

    ``style_prompt`` is appended to each shot's prompt. Shots with equal texts share their memory.

    Raises:
        InvalidRequest: There would be more pieces than frames or than `MAX_SHOTS`, or the model can't
            continue a video.
    """
    request = fitted.request
    if request.task.output == "image":
        styled = _styled(request.prompt, style_prompt)
        return (_shot(fitted, request.prompt, styled, seed=seed, num_frames=fitted.num_frames),)
    pieces = [
        (scene.prompt, styled, length)
        for index, scene in enumerate(_scenes(fitted))
        for styled in (_styled(scene.prompt, style_prompt),)
        for length in _split(spec, fitted, scene, continues=index > 0 or request.extends_video)
    ]
    if len(pieces) > MAX_SHOTS:
        raise _too_many(spec, fitted)
    if len(pieces) > 1 and (Task.IMAGE_TO_VIDEO not in spec.tasks or request.task == Task.VIDEO_TO_VIDEO):
        raise InvalidRequest(
            f"{request.model} makes at most {spec.frames.max} frames at once and can't continue a video "
            f"({request.task}); this request needs {fitted.num_frames} frames in {len(pieces)} shots.",
            param="num_fragments" if request.num_fragments > 1 else request.length_param,
        )
    return tuple(
        _shot(
            fitted,
            prompt,
            styled,
            seed=seed + index,
            num_frames=spec.frames.at_least(length + continues),
            keep_frames=length,
            continues=continues,
        )
        for index, (prompt, styled, length) in enumerate(pieces)
        for continues in (index > 0 or request.extends_video,)
    )


def _scenes(fitted: FittedRequest) -> list[_Scene]:
    request = fitted.request
    if not request.storyboard:
        return [_Scene(request.prompt, fitted.num_frames, request.num_fragments)]
    # Each ends at the frame nearest to its time in the video, so that rounding never adds up.
    marks = [round(seconds * fitted.fps) for seconds in accumulate(s.duration for s in request.storyboard)]
    lengths = [end - start for start, end in pairwise([0, *marks])]
    if 0 in lengths:
        raise InvalidRequest(
            f"Shot {lengths.index(0) + 1} of the storyboard is shorter than a frame at {fitted.fps:g} fps.",
            param="prompt",
        )
    return [_Scene(shot.prompt, n) for shot, n in zip(request.storyboard, lengths, strict=True)]


def _split(spec: ModelSpec, fitted: FittedRequest, scene: _Scene, *, continues: bool) -> list[int]:
    """Split the scene's frames into nearly equal parts, none over the model's maximum."""
    total = scene.num_frames
    if not 1 <= scene.pieces <= min(MAX_SHOTS, total):
        raise InvalidRequest(
            f"num_fragments is {scene.pieces}; a video of {total} frames can be made in 1 to "
            f"{min(MAX_SHOTS, total)} fragments.",
            param="num_fragments",
        )
    for pieces in range(scene.pieces, MAX_SHOTS + 1):
        share, extra = divmod(total, pieces)
        lengths = [share + (index < extra) for index in range(pieces)]
        # Every shot but the video's first also makes the frame that it starts from.
        longest = max(lengths[0] + continues, (lengths[1] + 1) if pieces > 1 else 0)
        if longest <= spec.frames.max:
            return lengths
    raise _too_many(spec, fitted)


def _too_many(spec: ModelSpec, fitted: FittedRequest) -> InvalidRequest:
    request = fitted.request
    return InvalidRequest(
        f"{fitted.num_frames} frames would need more than {MAX_SHOTS} shots of {request.model}, which makes "
        f"at most {spec.frames.max} frames at once.",
        param=request.length_param,
    )


def _styled(prompt: str, style_prompt: str) -> str:
    return f"{prompt}\n{style_prompt}" if style_prompt else prompt


def _shot(
    fitted: FittedRequest,
    prompt: str,
    styled: str,
    *,
    seed: int,
    num_frames: int,
    keep_frames: int | None = None,
    continues: bool = False,
) -> Shot:
    request = fitted.request
    return Shot(
        task=Task.IMAGE_TO_VIDEO if continues else request.task,
        prompt=styled,
        negative_prompt=request.negative_prompt or "",
        width=fitted.width,
        height=fitted.height,
        num_frames=num_frames,
        fps=fitted.fps,
        seed=seed,
        num_inference_steps=fitted.num_inference_steps,
        guidance_scale=fitted.guidance_scale,
        strength=request.strength,
        style=request.style,
        caption=prompt if styled != prompt else "",
        continues=continues,
        drop_first=1 if continues else 0,
        keep_frames=keep_frames,
    )
