"""What a model can make, and the one place where a request is fitted to it."""

import math
from itertools import accumulate
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from framegate.core.errors import ConfigError, InvalidRequest, UnsupportedParameter
from framegate.core.types import GenerationRequest, Task


class Change(Struct, frozen=True):
    """A value of the request that the model can't take, and what was used instead."""

    field: str
    asked: float
    used: float
    why: str


class Range(Struct, frozen=True):
    min: float
    max: float

    def clamp(self, value: float) -> float:
        return max(self.min, min(self.max, value))

    def narrowed(self, other: "Range | None") -> "Range":
        if other is None or max(self.min, other.min) > min(self.max, other.max):
            return self
        return Range(max(self.min, other.min), min(self.max, other.max))


_MOST_OBLONG = 4.0
_OFF_RATIO = 0.03


class SizeRule(Struct, frozen=True):
    """Width and height in pixels: each a multiple of ``multiple_of``, within ``min_side`` … ``max_side``,
    at most ``max_pixels`` together; or ``only`` these sizes, (width, height), and no others."""

    multiple_of: int = 2
    min_side: int = 32
    max_side: int = 2048
    max_pixels: int = 2048 * 2048
    only: tuple[tuple[int, int], ...] = ()

    def __str__(self) -> str:
        if self.only:
            return f"makes {' or '.join(f'{width}×{height}' for width, height in self.only)}"
        return f"takes multiples of {self.multiple_of} within its limits"

    def __post_init__(self) -> None:
        if self.multiple_of < 1:
            raise ValueError(f"multiple_of of {self!r} is not positive")
        smallest, largest = self._grid()
        if smallest > largest or smallest * smallest > self.max_pixels:
            raise ValueError(f"no size fits {self!r}")

    def _grid(self) -> tuple[int, int]:
        """The smallest and the largest side on the grid."""
        step = self.multiple_of
        return max(step, math.ceil(self.min_side / step) * step), self.max_side // step * step

    def fit(self, width: float, height: float) -> tuple[int, int]:
        """The nearest size that is not larger than asked, but where a minimum demands it.

        A size with too long a side or too many pixels is scaled down with its ratio kept. Of the ``only``
        sizes it is the one nearest in ratio, then in area.
        """
        smallest, largest = self._grid()
        width, height = max(width, 1), max(height, 1)
        if self.only:
            return min(
                self.only,
                key=lambda size: (
                    abs(math.log(size[0] / size[1] / (width / height))),
                    abs(math.log(size[0] * size[1] / (width * height))),
                ),
            )
        scale = min(self.max_side / max(width, height), math.sqrt(self.max_pixels / (width * height)))
        if scale < 1:
            width, height = width * scale, height * scale

        def side(value: float, limit: float) -> int:
            # The epsilon keeps a side that scaling left at 831.9999999 from losing a whole grid step.
            floored = int((min(value, limit) + 1e-6) // self.multiple_of) * self.multiple_of
            return max(smallest, min(largest, floored))

        fitted_width = side(width, self.max_pixels / smallest)
        return fitted_width, side(height, self.max_pixels / fitted_width)

    def filling(self, pixels: int, ratio: float) -> tuple[int, int]:
        """The size of that ``ratio`` (width to height) which fills ``pixels`` and never exceeds them.

        Both sides are rounded down to the grid. Where that makes the shape more oblong by over 3 %, the
        longer side gives way. A ratio beyond 4:1 is taken for 4:1.
        """
        step, pixels = self.multiple_of, min(pixels, self.max_pixels)
        oblong = min(max(ratio, 1 / ratio), _MOST_OBLONG)
        short = max(step, round(math.sqrt(pixels / oblong)) // step * step)
        # The nearest whole sides may hold a few pixels more than there are.
        most = min(round(math.sqrt(pixels * oblong)), pixels / short, short * oblong * (1 + _OFF_RATIO))
        long = int(most // step) * step
        return self.fit(*((long, short) if ratio >= 1 else (short, long)))

    def narrowed(self, other: "SizeRule | None") -> "SizeRule":
        """The sizes that both allow; ``self`` where there are none."""
        if other is None or self.only:
            return self
        if other.only:
            both = tuple(size for size in other.only if self.fit(*size) == size)
            return replace(self, only=both) if both else self
        try:
            return SizeRule(
                multiple_of=math.lcm(self.multiple_of, other.multiple_of),
                min_side=max(self.min_side, other.min_side),
                max_side=min(self.max_side, other.max_side),
                max_pixels=min(self.max_pixels, other.max_pixels),
            )
        except ValueError:
            return self


class FrameRule(Struct, frozen=True):
    """Frame counts of one shot: ``step``·k + ``offset``, within ``min`` … ``max`` (which lie on the rule)."""

    step: int = 1
    offset: int = 0
    min: int = 1
    max: int = 7200

    def __post_init__(self) -> None:
        if self.step < 1 or self.min < 1 or self.max < self.min:
            raise ValueError(f"no frame count fits {self!r}")
        if any((end - self.offset) % self.step for end in (self.min, self.max)):
            raise ValueError(f"min and max of {self!r} are not {self.step}n+{self.offset}")

    def __str__(self) -> str:
        return "any" if self.step == 1 else f"{self.step}n+{self.offset}"

    def nearest(self, count: float) -> int:
        steps = math.floor((count - self.offset) / self.step + 0.5)
        return max(self.min, min(self.max, steps * self.step + self.offset))

    def at_least(self, count: int) -> int:
        """The smallest count on the rule that is not below ``count``; ``max`` beyond it."""
        steps = math.ceil((count - self.offset) / self.step)
        return max(self.min, min(self.max, steps * self.step + self.offset))

    def narrowed(self, other: "FrameRule | None") -> "FrameRule":
        """``other`` where all its counts are ours too, cut to our range; else ``self``."""
        if other is None or other.step % self.step or (other.offset - self.offset) % self.step:
            return self
        low, high = max(self.min, other.min), min(self.max, other.max)
        low += (other.offset - low) % other.step
        high -= (high - other.offset) % other.step
        return FrameRule(other.step, other.offset, low, high) if low <= high else self


class Defaults(Struct, frozen=True, omit_defaults=True):
    """What holds where a request says nothing. ``None``: the next wider default holds."""

    width: int | None = None
    height: int | None = None
    num_frames: int | None = None
    duration: float | None = None
    fps: float | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    negative_prompt: str | None = None
    strength: float | None = None
    style: str | None = None

    def over(self, wider: "Defaults") -> "Defaults":
        """These defaults, with ``wider`` filling the gaps. A length given here replaces the wider one."""
        given = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        if given.keys() & {"num_frames", "duration"}:
            wider = replace(wider, num_frames=None, duration=None)
        return replace(wider, **given)


class ModelPreset(Struct, frozen=True, kw_only=True):
    """A ready recipe of a model (``[models.NAME] preset = "…"``): options and defaults over the model's own,
    and ranges in the place of its own."""

    summary: str
    options: dict[str, Any] = {}
    defaults: Defaults = field(default_factory=Defaults)
    steps: Range | None = None
    guidance: Range | None = None


class ModelSpec(Struct, frozen=True, kw_only=True):
    """A model that a backend plugin offers, or that the config derives from one: data only.

    ``backend`` is the import string ``module:Class`` of its `Backend`, ``source`` a folder or hub id (a
    model that ``needs_source`` is served once the config gives one), ``options`` what the config hands to it.
    ``parameters`` names the optional request fields that it honours ("negative_prompt", "strength",
    "last_image"). Workers subscribe to ``queue_group``: models of one group share a queue, from which
    a worker takes the jobs of those that it has. It needs the modules that a model ``requires``, which the
    command ``install`` brings; an API server does not.
    """

    id: str
    summary: str
    backend: str
    tasks: frozenset[Task]
    source: str = ""
    needs_source: bool = False
    options: dict[str, Any] = {}
    presets: dict[str, ModelPreset] = {}
    requires: frozenset[str] = frozenset()
    install: str = ""
    parameters: frozenset[str] = frozenset()
    sizes: SizeRule = field(default_factory=SizeRule)
    frames: FrameRule = field(default_factory=FrameRule)
    fps: Range = Range(1, 60)
    steps: Range = Range(1, 100)
    guidance: Range = Range(1.0, 20.0)
    max_duration: float = 120.0
    max_outputs: int = 4
    defaults: Defaults = field(default_factory=Defaults)
    queue_group: str = ""

    @property
    def queue(self) -> str:
        """The name of its queue, in the characters that Dramatiq allows."""
        name = self.queue_group or self.id
        return "q-" + "".join(
            c if c.isascii() and (c.isalnum() or c in "._-") else f"_{ord(c):x}" for c in name
        )

    def with_preset(self, name: str) -> "ModelSpec":
        """The model with one of its presets.

        Raises:
            ConfigError: it has none of this name.
        """
        preset = self.presets.get(name)
        if preset is None:
            raise ConfigError(
                f"there is no preset {name!r} of {self.id}; there is {', '.join(self.presets) or 'none'}"
            )
        return replace(
            self,
            options={**self.options, **preset.options},
            steps=preset.steps or self.steps,
            guidance=preset.guidance or self.guidance,
            defaults=preset.defaults.over(self.defaults),
        )

    def narrowed(
        self,
        sizes: SizeRule | None,
        frames: FrameRule | None,
        defaults: Defaults,
        max_duration: float | None = None,
        tasks: frozenset[Task] = frozenset(),
    ) -> "ModelSpec":
        """The same model behind a name that promises less."""
        return replace(
            self,
            tasks=self.tasks & tasks or self.tasks,
            sizes=self.sizes.narrowed(sizes),
            frames=self.frames.narrowed(frames),
            max_duration=self.max_duration if max_duration is None else min(self.max_duration, max_duration),
            defaults=defaults.over(self.defaults),
        )


class FittedRequest(Struct, frozen=True):
    """A request in the model's own terms.

    ``asked`` is the request as it came, ``request`` the same with the defaults for its text, style and
    strength. ``num_frames`` is the length of the whole video, which planning may split into shots.
    """

    asked: GenerationRequest
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

_STRENGTH = Range(0.0, 1.0)

MAX_EXTENDED = 600.0
"""Seconds that an extended video may have in all: no longer one is taken as an input."""


def fit(spec: ModelSpec, request: GenerationRequest) -> FittedRequest:
    """Fit ``request`` to ``spec``; every deviation from what was asked is in ``changes``.

    Raises:
        InvalidRequest: the model can't do the task, or the length or the number is out of reach.
        UnsupportedParameter: the request sets a field that the model does not honour.
    """
    _check_supported(spec, request)
    defaults = spec.defaults.over(_FALLBACK)
    changes: list[Change] = []

    def settle(name: str, asked: float | None, used: float, why: str) -> None:
        if asked is not None and asked != used:
            changes.append(Change(name, asked, used, why))

    def within(name: str, limits: Range, default: float | None) -> float:
        asked: float | None = getattr(request, name)
        assert default is not None
        used = limits.clamp(default if asked is None else asked)
        settle(name, asked, used, f"the model takes {limits.min:g} to {limits.max:g}")
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
            f"{num_frames} pictures were asked for; {spec.id} makes 1 to {spec.max_outputs} at once.",
            param="num_outputs",
        )

    strength = request.strength if request.strength is not None else defaults.strength
    if strength is not None:
        strength = _STRENGTH.clamp(strength)
        settle("strength", request.strength, strength, "it is a share from 0 to 1")
    filled = replace(
        request,
        negative_prompt=request.negative_prompt or defaults.negative_prompt or "",
        strength=strength,
        style=request.style if request.style is not None else defaults.style,
    )
    return FittedRequest(
        asked=request,
        request=filled,
        width=width,
        height=height,
        num_frames=num_frames,
        fps=fps,
        num_inference_steps=int(within("num_inference_steps", spec.steps, defaults.num_inference_steps)),
        guidance_scale=within("guidance_scale", spec.guidance, defaults.guidance_scale),
        changes=tuple(changes),
    )


def _check_supported(spec: ModelSpec, request: GenerationRequest) -> None:
    if request.storyboard and request.task.output != "video":
        raise InvalidRequest("A storyboard makes a video; this task makes pictures.", param="prompt")
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
            f"{seconds:.2f} s after a video of {before:.2f} s are asked for; together they may be at most "
            f"{MAX_EXTENDED:g} s.",
            param=request.length_param,
        )


def _size(sizes: SizeRule, request: GenerationRequest, defaults: Defaults) -> tuple[int, int]:
    """Asked sides, as near as the model makes them; missing ones from the input picture's ratio (at the
    default's area, if no other is asked for)."""
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
            return sizes.filling(request.max_pixels, ratio)
        case _:
            area = defaults.width * defaults.height
            return sizes.fit(math.sqrt(area * ratio), math.sqrt(area / ratio))


def _wanted_frames(spec: ModelSpec, request: GenerationRequest, defaults: Defaults, fps: float) -> float:
    """The length of the whole video in frames, as asked; a default one is cut to what the model can make."""
    longest = spec.max_duration * fps
    wanted: float
    if request.storyboard:
        wanted = _storyboard_seconds(request) * fps
    elif request.num_frames is not None:
        wanted = request.num_frames
    elif request.duration is not None:
        wanted = request.duration * fps
    else:
        default = defaults.num_frames if defaults.duration is None else defaults.duration * fps
        assert default is not None
        return max(1, min(longest, default))
    # NaN is not, either. Seconds that don't add up exactly may be over by less than a frame.
    if not 1 <= wanted < longest + 0.5:
        raise InvalidRequest(
            f"A video of {wanted / fps:.2f} s was asked for; {request.model} makes at least one frame and at "
            f"most {spec.max_duration:g} s.",
            param=request.length_param,
        )
    return wanted


def _storyboard_seconds(request: GenerationRequest) -> float:
    for number, shot in enumerate(request.storyboard, start=1):
        if not 0 < shot.duration < math.inf:  # NaN is not, either
            raise InvalidRequest(
                f"Shot {number} of the storyboard is to last {shot.duration:g} s; give each a length in "
                "seconds, such as [5.0s].",
                param="prompt",
            )
    # Added up as planning does; `sum` rounds differently from one Python to the next.
    return list(accumulate(shot.duration for shot in request.storyboard))[-1]
