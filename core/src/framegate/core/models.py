"""What a model can make."""

import math
from functools import lru_cache
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from framegate.core.config_errors import suggest
from framegate.core.errors import ConfigError
from framegate.core.types import ShotSize, Task


class Range(Struct, frozen=True):
    """The values from ``min`` to ``max``, both included."""

    min: float
    max: float

    def clamp(self, value: float) -> float:
        """Return the nearest value in the range."""
        return max(self.min, min(self.max, value))

    def intersect(self, other: "Range | None") -> "Range":
        """Return the values that both allow; ``self`` if there are none."""
        if other is None or max(self.min, other.min) > min(self.max, other.max):
            return self
        return Range(max(self.min, other.min), min(self.max, other.max))


_MAX_ASPECT_RATIO = 4.0
_ASPECT_TOLERANCE = 0.03


class SizeRule(Struct, frozen=True):
    """The sizes that a model makes, in pixels.

    Both sides are multiples of ``multiple_of`` within ``min_side`` … ``max_side``, and the image has at most
    ``max_pixels``. If ``only`` is given, it lists all sizes as (width, height).
    """

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
        """Return the smallest and the largest side on the grid."""
        step = self.multiple_of
        return max(step, math.ceil(self.min_side / step) * step), self.max_side // step * step

    def fit(self, width: float, height: float) -> tuple[int, int]:
        """Return the nearest size that is not larger than requested, unless a minimum demands it.

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

    def fit_pixels(self, pixels: int, ratio: float) -> tuple[int, int]:
        """Return the largest size of that ``ratio`` (width to height) with at most ``pixels`` pixels.

        Both sides are rounded down to the grid. Where that raises the aspect ratio by over 3 %, the longer
        side is shortened. A ratio beyond 4:1 counts as 4:1.
        """
        step, pixels = self.multiple_of, min(pixels, self.max_pixels)
        aspect = min(max(ratio, 1 / ratio), _MAX_ASPECT_RATIO)
        short = max(step, round(math.sqrt(pixels / aspect)) // step * step)
        # The nearest whole sides may hold a few pixels more than there are.
        limit = min(
            round(math.sqrt(pixels * aspect)), pixels / short, short * aspect * (1 + _ASPECT_TOLERANCE)
        )
        long = int(limit // step) * step
        return self.fit(*((long, short) if ratio >= 1 else (short, long)))

    def intersect(self, other: "SizeRule | None") -> "SizeRule":
        """Return the sizes that both allow; ``self`` if there are none."""
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
    """The frame counts of one shot: ``step``·k + ``offset``, from ``min`` to ``max`` (two such counts)."""

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
        """Return the frame count nearest to ``count``."""
        steps = math.floor((count - self.offset) / self.step + 0.5)
        return max(self.min, min(self.max, steps * self.step + self.offset))

    def at_least(self, count: int) -> int:
        """Return the smallest frame count that is not below ``count``, at most ``max``."""
        steps = math.ceil((count - self.offset) / self.step)
        return max(self.min, min(self.max, steps * self.step + self.offset))

    def intersect(self, other: "FrameRule | None") -> "FrameRule":
        """Return ``other``, cut to this range, if all its counts are this rule's too; otherwise ``self``."""
        if other is None or other.step % self.step or (other.offset - self.offset) % self.step:
            return self
        low, high = max(self.min, other.min), min(self.max, other.max)
        low += (other.offset - low) % other.step
        high -= (high - other.offset) % other.step
        return FrameRule(other.step, other.offset, low, high) if low <= high else self


class Defaults(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Default values for fields that a request omits; None falls back to the next, more general default."""

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

    def over(self, fallback: "Defaults") -> "Defaults":
        """Return these defaults, with gaps filled from ``fallback``, whose length one given here replaces."""
        given = {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}
        if given.keys() & {"num_frames", "duration"}:
            fallback = replace(fallback, num_frames=None, duration=None)
        return replace(fallback, **given)


class ModelPreset(Struct, frozen=True, kw_only=True):
    """A ready recipe of a model (``[models.NAME] preset = "…"``).

    ``options`` and ``defaults`` are merged over the model's own; ``steps`` and ``guidance`` replace its
    ranges. ``license`` is that of the files that it adds, such as a LoRA, and what it forbids.
    """

    summary: str
    license: str = ""
    options: dict[str, Any] = {}
    defaults: Defaults = field(default_factory=Defaults)
    steps: Range | None = None
    guidance: Range | None = None


class ModelSpec(Struct, frozen=True, kw_only=True):
    """A model that a backend plugin offers, or that the config derives from one: data only.

    Attributes:
        id: Its name among the served models.
        summary: What it is, in a few words.
        license: Under which licences its weights and those of its preset may be used, and what they forbid.
        backend: The import string ``module:Class`` of its `Backend`.
        tasks: What it can do.
        source: A folder or hub id.
        needs_source: It is served only once the config gives it a source.
        options: What its backend is given from the config.
        options_type: The import string of the msgspec Struct that describes those, so that ``framegate config
            check`` can check them; its module imports nothing heavy. Empty if they can't be checked.
        presets: Its recipes by name.
        requires: The modules that a worker needs for it; an API server does not.
        install: The command that installs those.
        parameters: The optional request fields that it honours ("negative_prompt", "strength", "last_image").
        sizes: The sizes that it makes.
        frames: The frame counts of one shot.
        fps: Its frame rates.
        steps: Its numbers of denoising steps.
        guidance: Its guidance scales.
        max_duration: The longest video in seconds, made in as many shots as it takes.
        max_storyboard: The longest storyboard in seconds; None for ``max_duration``. A name that promises a
            length narrows only ``max_duration``: the times in a storyboard say its length themselves.
        max_outputs: How many images it makes at once.
        defaults: Default values for fields that a request omits.
        queue_group: Models of one group share a queue, from which a worker takes the jobs of those that it
            has; empty for a queue of its own.
        unload_after: After how many seconds without a job a worker unloads it, 0 for never; None if that is
            the worker's own setting.
    """

    id: str
    summary: str
    backend: str
    tasks: frozenset[Task]
    license: str = ""
    source: str = ""
    needs_source: bool = False
    options: dict[str, Any] = {}
    options_type: str = ""
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
    max_storyboard: float | None = None
    max_outputs: int = 4
    defaults: Defaults = field(default_factory=Defaults)
    queue_group: str = ""
    unload_after: float | None = None

    @property
    def queue(self) -> str:
        """Its queue's name, in the characters that Dramatiq allows."""
        return _queue_of(self.queue_group or self.id)

    @property
    def planned_size(self) -> ShotSize:
        """The size that its backend plans memory for: that of a request which says nothing of it.

        What it could make at most is often far larger than what is ever asked for. A larger default in the
        config is planned for.
        """
        defaults = self.defaults
        width, height = self.sizes.fit(defaults.width or 1024, defaults.height or 1024)
        if not self._makes_videos:
            return ShotSize(width, height, 1)
        frames = defaults.num_frames
        if frames is None and defaults.duration is not None:
            frames = round(defaults.duration * (defaults.fps or self.fps.max))
        return ShotSize(width, height, self.frames.nearest(self.frames.max if frames is None else frames))

    @property
    def largest_size(self) -> ShotSize:
        """The largest shot that it makes."""
        planned, sizes = self.planned_size, self.sizes
        candidates = [
            *sizes.only,
            (planned.width, planned.height),
            sizes.fit_pixels(sizes.max_pixels, planned.width / planned.height),
            sizes.fit_pixels(sizes.max_pixels, 16 / 9),
            sizes.fit(sizes.max_side, sizes.max_pixels / sizes.max_side),
        ]
        width, height = max(candidates, key=lambda size: size[0] * size[1])
        return ShotSize(width, height, self.frames.max if self._makes_videos else 1)

    @property
    def _makes_videos(self) -> bool:
        return any(task.endswith("video") for task in self.tasks)

    def with_preset(self, name: str) -> "ModelSpec":
        """Return the model with one of its presets.

        Raises:
            ConfigError: It has no preset of this name; the message lists those that exist.
        """
        preset = self.presets.get(name)
        if preset is None:
            raise ConfigError(f"{self.id} has no preset {name!r}{suggest(name, self.presets)}")
        return replace(
            self,
            options={**self.options, **preset.options},
            steps=preset.steps or self.steps,
            guidance=preset.guidance or self.guidance,
            license="; ".join(filter(None, (self.license, preset.license))),
            defaults=preset.defaults.over(self.defaults),
        )

    def narrow(
        self,
        sizes: SizeRule | None,
        frames: FrameRule | None,
        defaults: Defaults,
        max_duration: float | None = None,
        tasks: frozenset[Task] = frozenset(),
    ) -> "ModelSpec":
        """Return the model within the limits that one of its names promises."""
        longest = self.max_duration if self.max_storyboard is None else self.max_storyboard
        return replace(
            self,
            max_storyboard=longest,
            tasks=self.tasks & tasks or self.tasks,
            sizes=self.sizes.intersect(sizes),
            frames=self.frames.intersect(frames),
            max_duration=self.max_duration if max_duration is None else min(self.max_duration, max_duration),
            defaults=defaults.over(self.defaults),
        )


@lru_cache(maxsize=1024)  # workers ask for each of their models with every job
def _queue_of(name: str) -> str:
    return "q-" + "".join(c if c.isascii() and (c.isalnum() or c in "._-") else f"_{ord(c):x}" for c in name)
