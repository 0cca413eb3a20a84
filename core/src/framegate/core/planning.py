"""From a fitted request to the shots that make it. Pure.

A shot that goes on from the one before is conditioned on that one's last frame, makes it once more as
its own first frame and drops it, so that a seam neither repeats a frame nor skips one.
"""

from framegate.core.errors import InvalidRequest
from framegate.core.models import Fitted, ModelSpec
from framegate.core.types import GenerationRequest, Shot, Task

MAX_SHOTS = 64


def plan(spec: ModelSpec, fitted: Fitted, seed: int) -> tuple[Shot, ...]:
    """The shots of ``fitted``, their kept frames adding up to ``fitted.num_frames``.

    Raises:
        InvalidRequest: more pieces than frames or than `MAX_SHOTS`, or the model can't continue a video.
    """
    request = fitted.request
    if request.task.output == "image":
        return (_shot(fitted, request.task, seed, fitted.num_frames),)
    lengths = _split(spec, request, fitted.num_frames)
    if len(lengths) == 1:
        return (_shot(fitted, request.task, seed, spec.frames.at_least(lengths[0]), keep_frames=lengths[0]),)
    if Task.IMAGE_TO_VIDEO not in spec.tasks or request.task == Task.VIDEO_TO_VIDEO:
        raise InvalidRequest(
            f"{request.model} makes at most {spec.frames.max} frames at once and can't continue a video "
            f"({request.task}); {fitted.num_frames} frames in {len(lengths)} pieces were asked for.",
            param="num_fragments" if request.num_fragments > 1 else request.length_param,
        )
    first = _shot(fitted, request.task, seed, spec.frames.at_least(lengths[0]), keep_frames=lengths[0])
    rest = (
        _shot(
            fitted,
            Task.IMAGE_TO_VIDEO,
            seed + index,
            spec.frames.at_least(length + 1),
            keep_frames=length,
            drop_first=1,
            continues=True,
        )
        for index, length in enumerate(lengths[1:], start=1)
    )
    return (first, *rest)


def _split(spec: ModelSpec, request: GenerationRequest, total: int) -> list[int]:
    """How many frames each shot adds to the video: nearly equal parts, none over the model's maximum."""
    pieces = request.num_fragments
    if not 1 <= pieces <= min(MAX_SHOTS, total):
        raise InvalidRequest(
            f"{pieces} pieces were asked for; a video of {total} frames can be made in 1 to "
            f"{min(MAX_SHOTS, total)}.",
            param="num_fragments",
        )
    while True:
        share, extra = divmod(total, pieces)
        lengths = [share + (index < extra) for index in range(pieces)]
        # Every shot but the first also makes the frame that it starts from.
        longest = max(lengths[0], lengths[1] + 1) if pieces > 1 else lengths[0]
        if longest <= spec.frames.max:
            return lengths
        pieces += 1
        if pieces > MAX_SHOTS:
            raise InvalidRequest(
                f"{total} frames would need more than {MAX_SHOTS} shots of {request.model}, "
                f"which makes at most {spec.frames.max} frames at once.",
                param=request.length_param,
            )


def _shot(
    fitted: Fitted,
    task: Task,
    seed: int,
    num_frames: int,
    *,
    keep_frames: int | None = None,
    drop_first: int = 0,
    continues: bool = False,
) -> Shot:
    request = fitted.request
    return Shot(
        task=task,
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        width=fitted.width,
        height=fitted.height,
        num_frames=num_frames,
        fps=fitted.fps,
        seed=seed,
        num_inference_steps=fitted.num_inference_steps,
        guidance_scale=fitted.guidance_scale,
        strength=request.strength,
        style=request.style,
        continues=continues,
        drop_first=drop_first,
        keep_frames=keep_frames,
    )
