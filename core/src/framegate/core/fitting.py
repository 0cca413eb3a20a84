"""The one place where a request is fitted to a model."""

import math
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from framegate.core.errors import InvalidRequest, UnsupportedParameter
from framegate.core.models import Defaults, ModelSpec, Range, SizeRule
from framegate.core.types import GenerationRequest


class Change(Struct, frozen=True, rename={"requested": "asked"}):
    """A value of the request that the model can't take: what was ``requested``, ``used`` instead, and why."""

    field: str
    requested: float
    used: float
    why: str


class FittedRequest(Struct, frozen=True):
    """A request in the model's own terms.

    ``requested`` is the request as it came, ``request`` the same with the defaults for its text, style and
    strength. ``num_frames`` is the length of the whole video, which planning may split into shots.
    """

    requested: GenerationRequest
    request: GenerationRequest
    width: int
    height: int
    num_frames: int
    fps: float
    num_inference_steps: int
    guidance_scale: float
    changes: tuple[Change, ...]


_FALLBACK = Defaults(
    width=832, height=480, num_frames=81, fps=16.0, num_inference_steps=30, guidance_scale=5.0
)

STRENGTH = Range(0.0, 1.0)

MAX_EXTENDED = 600.0
"""Seconds that an extended video may have in all: a longer one is not accepted as an input."""


def defaults_of(spec: ModelSpec) -> Defaults:
    """Return the values that ``spec`` uses for what a request leaves open."""
    return spec.defaults.over(_FALLBACK)


def fit(spec: ModelSpec, request: GenerationRequest) -> FittedRequest:
    """Fit ``request`` to ``spec``; every deviation from the request is in ``changes``.

    Raises:
        InvalidRequest: The model can't do the task, or can't make that length or number.
        UnsupportedParameter: The request sets a field that the model does not honour.
    """
    _check_supported(spec, request)
    defaults = defaults_of(spec)
    changes: list[Change] = []

    def settle(name: str, requested: float | None, used: float, why: str) -> None:
        if requested is not None and requested != used:
            changes.append(Change(name, requested, used, why))

    def within(name: str, limits: Range, default: float | None) -> float:
        requested: float | None = getattr(request, name)
        assert default is not None
        _check_finite(name, requested, limits)
        used = limits.clamp(default if requested is None else requested)
        settle(name, requested, used, f"the model takes {limits.min:g} to {limits.max:g}")
        return used

    width, height = _size(spec.sizes, request, defaults)
    why_size = f"the model {spec.sizes}"
    settle("width", request.width, width, why_size)
    settle("height", request.height, height, why_size)

    fps, num_frames = 0.0, request.num_outputs
    if request.task.output == "video":
        fps = within("fps", spec.fps, defaults.fps)
        wanted = _wanted_frames(spec, request, defaults, fps)
        # Beyond the maximum of one shot, in a storyboard, and where the first frame is dropped anyway, every
        # count can be made: planning splits it.
        free = wanted > spec.frames.max or request.storyboard or request.extends_video
        num_frames = round(wanted) if free else spec.frames.nearest(wanted)
        why_frames = f"the model's frame counts are {spec.frames}, at least {spec.frames.min}"
        if request.num_frames is not None:
            settle("num_frames", request.num_frames, num_frames, why_frames)
        elif abs(num_frames - wanted) > 0.5:  # a video has whole frames
            settle("duration", request.duration, num_frames / fps, why_frames)
        settle("num_outputs", request.num_outputs, 1, "one video is made at a time")
        _check_extended(request, num_frames / fps)
    elif not 1 <= num_frames <= spec.max_outputs:
        raise InvalidRequest(
            f"{num_frames} images were requested; {spec.id} makes 1 to {spec.max_outputs} at once.",
            param="num_outputs",
        )

    strength = request.strength if request.strength is not None else defaults.strength
    if strength is not None:
        _check_finite("strength", strength, STRENGTH)
        strength = STRENGTH.clamp(strength)
        settle("strength", request.strength, strength, "it is a share from 0 to 1")
    negative_prompt = request.negative_prompt
    if negative_prompt is None:
        negative_prompt = defaults.negative_prompt or ""
    filled = replace(
        request,
        negative_prompt=negative_prompt,
        strength=strength,
        style=request.style if request.style is not None else defaults.style,
    )
    return FittedRequest(
        requested=request,
        request=filled,
        width=width,
        height=height,
        num_frames=num_frames,
        fps=fps,
        num_inference_steps=int(within("num_inference_steps", spec.steps, defaults.num_inference_steps)),
        guidance_scale=within("guidance_scale", spec.guidance, defaults.guidance_scale),
        changes=tuple(changes),
    )


def _check_finite(name: str, value: float | None, limits: Range) -> None:
    if value is not None and not math.isfinite(value):
        raise InvalidRequest(
            f"{name} is {value:g}; write a number from {limits.min:g} to {limits.max:g}.", param=name
        )


def _check_supported(spec: ModelSpec, request: GenerationRequest) -> None:
    if request.storyboard and request.task.output != "video":
        raise InvalidRequest("A storyboard makes a video; this task makes images.", param="prompt")
    if request.task not in spec.tasks:
        able = ", ".join(sorted(spec.tasks))
        raise InvalidRequest(
            f"The model {request.model} can't do {request.task}; it can do {able}.", param="model"
        )
    for name in ("strength", "last_image"):
        if getattr(request, name) is not None and name not in spec.parameters:
            raise UnsupportedParameter(
                f"The model {request.model} has no parameter {name}; leave it out.", param=name
            )


def _check_extended(request: GenerationRequest, seconds: float) -> None:
    before = request.video.duration if request.extends_video and request.video else 0.0
    if before and before + seconds > MAX_EXTENDED:
        raise InvalidRequest(
            f"The request adds {seconds:.2f} s to a video of {before:.2f} s; together they may have at most "
            f"{MAX_EXTENDED:g} s.",
            param=request.length_param,
        )


def _size(sizes: SizeRule, request: GenerationRequest, defaults: Defaults) -> tuple[int, int]:
    """Return the sides as near to the request as the model makes them.

    Missing ones follow from the input's aspect ratio, at the default's area if no other is requested.
    """
    assert defaults.width is not None
    assert defaults.height is not None
    source = request.image or request.video
    ratio = source.width / source.height if source else defaults.width / defaults.height
    match request.width, request.height:
        case int(width), int(height):
            return sizes.fit(width, height)
        case int(width), None:
            return sizes.fit(width, width / ratio)
        case None, int(height):
            return sizes.fit(height * ratio, height)
        case _ if request.max_pixels is not None:
            return sizes.fit_pixels(request.max_pixels, ratio)
        case _:
            area = defaults.width * defaults.height
            return sizes.fit(math.sqrt(area * ratio), math.sqrt(area / ratio))


def _wanted_frames(spec: ModelSpec, request: GenerationRequest, defaults: Defaults, fps: float) -> float:
    """Return the whole video's length in frames as requested; a default is cut to what the model makes."""
    max_duration = spec.max_duration
    wanted: float
    if request.storyboard:
        wanted = _storyboard_seconds(request) * fps
        max_duration = max_duration if spec.max_storyboard is None else spec.max_storyboard
    elif request.num_frames is not None:
        wanted = request.num_frames
    elif request.duration is not None:
        wanted = request.duration * fps
    else:
        default = defaults.num_frames if defaults.duration is None else defaults.duration * fps
        assert default is not None
        return max(1, min(max_duration * fps, default))
    # The comparison also rejects NaN. Seconds that don't add up exactly may be over by less than a frame.
    if not 1 <= wanted < max_duration * fps + 0.5:
        raise InvalidRequest(
            f"A video of {wanted / fps:.2f} s was requested; {request.model} makes at least one frame and at "
            f"most {max_duration:g} s.",
            param=request.length_param,
        )
    return wanted


def _storyboard_seconds(request: GenerationRequest) -> float:
    for number, shot in enumerate(request.storyboard, start=1):
        if not 0 < shot.duration < math.inf:  # also rejects NaN
            raise InvalidRequest(
                f"Shot {number} of the storyboard has a length of {shot.duration:g} s; give each shot "
                "a length in seconds, such as [5.0s].",
                param="prompt",
            )
    # Added up as planning does; `sum` rounds differently from one Python to the next.
    return list(accumulate(shot.duration for shot in request.storyboard))[-1]
