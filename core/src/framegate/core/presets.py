"""The model names that the documented clients send, each pointed at a served model by an operator's one
line (``[presets] sora2api = {video = "wan22", image = "preview"}``), and at ``preview`` until then."""

from msgspec import Struct

from framegate.core.models import Defaults, FrameRule, SizeRule
from framegate.core.types import MediaKind, Task

FALLBACK_MODEL = "preview"
PRO_PLAN = "chatgpt_pro"


class PresetName(Struct, frozen=True):
    """One name of a preset. ``sizes``, ``frames``, ``max_duration`` (seconds) and ``tasks`` (none: any) are
    what its own document promises: whatever model stands behind the name is narrowed to them, so that a
    client meets the same rules everywhere. ``max_running``: so many of its jobs run at once; 0 for any
    number."""

    name: str
    kind: MediaKind
    defaults: Defaults
    sizes: SizeRule | None = None
    frames: FrameRule | None = None
    max_duration: float | None = None
    tasks: frozenset[Task] = frozenset()
    plan: str = ""
    max_running: int = 0


def _sora2() -> list[PresetName]:
    landscape, portrait = (1280, 720), (720, 1280)
    hd_landscape, hd_portrait = (1920, 1080), (1080, 1920)
    families = (
        ("sora2", "", (10, 15, 25), landscape, portrait),
        ("sora2pro", PRO_PLAN, (10, 15, 25), landscape, portrait),
        ("sora2pro-hd", PRO_PLAN, (10, 15), hd_landscape, hd_portrait),
    )
    return [
        PresetName(
            f"{family}-{shape}-{seconds}s",
            MediaKind.VIDEO,
            Defaults(width=size[0], height=size[1], duration=float(seconds), fps=30.0),
            max_duration=float(seconds),
            plan=plan,
        )
        for family, plan, durations, *sizes in families
        for shape, size in zip(("landscape", "portrait"), sizes, strict=True)
        for seconds in durations
    ] + [
        PresetName(name, MediaKind.IMAGE, Defaults(width=width, height=height))
        for name, width, height in (
            ("gpt-image", 360, 360),
            ("gpt-image-landscape", 540, 360),
            ("gpt-image-portrait", 360, 540),
        )
    ]


PRESETS: dict[str, tuple[PresetName, ...]] = {
    "lightx2v": (
        PresetName(
            "lightx2v",
            MediaKind.VIDEO,
            Defaults(width=832, height=480, fps=16.0, duration=5.0, num_inference_steps=4),
        ),
        PresetName(
            "lightx2v-image", MediaKind.IMAGE, Defaults(width=1664, height=928, num_inference_steps=5)
        ),
    ),
    "wan22-predict": (
        PresetName(
            "Wan2.2-TI2V-5B",
            MediaKind.VIDEO,
            Defaults(
                width=1280, height=704, fps=24.0, num_frames=121, num_inference_steps=50, guidance_scale=5.0
            ),
            sizes=SizeRule(multiple_of=32, min_side=32, max_side=2048, max_pixels=2048 * 2048),
            frames=FrameRule(step=4, offset=1, min=25, max=121),
        ),
    ),
    "wan21-submit": (
        PresetName(
            "Wan2.1-I2V-14B-480P",
            MediaKind.VIDEO,
            Defaults(
                width=832, height=480, fps=16.0, num_frames=81, num_inference_steps=30, guidance_scale=3.0
            ),
            sizes=SizeRule(multiple_of=16, min_side=256, max_side=1664, max_pixels=399_360),
            frames=FrameRule(step=4, offset=1, min=25, max=121),
            tasks=frozenset({Task.IMAGE_TO_VIDEO}),
            max_running=2,
        ),
    ),
    "openai-chat": tuple(
        PresetName(
            f"ltx2_{shape}",
            MediaKind.VIDEO,
            Defaults(width=width, height=height, fps=24.0, num_frames=121),
            sizes=SizeRule(multiple_of=32, min_side=64, max_side=2048, max_pixels=2048 * 2048),
            frames=FrameRule(step=8, offset=1, min=9, max=257),
        )
        for shape, width, height in (("landscape", 1024, 576), ("portrait", 576, 1024))
    ),
    "openai-videos": (
        *(
            PresetName(name, MediaKind.VIDEO, Defaults(width=720, height=1280, fps=24.0, duration=4.0))
            for name in (
                "sora-2",
                "sora-2-2025-10-06",
                "sora-2-2025-12-08",
                "sora-2-pro",
                "sora-2-pro-2025-10-06",
            )
        ),
        *(
            PresetName(name, MediaKind.IMAGE, Defaults(width=1024, height=1024))
            for name in (
                "gpt-image-2.6-sunburst",
                "gpt-image-2.6-flare",
                "gpt-image-2.5-sunburst",
                "gpt-image-2.5-sunburst-2026-09-08",
                "gpt-image-2.5-flare",
                "gpt-image-2.5-flare-2026-09-08",
                "gpt-image-2",
                "gpt-image-2-2026-04-21",
                "gpt-image-1.5",
                "gpt-image-1",
                "gpt-image-1-mini",
                "chatgpt-image-latest",
                "dall-e-3",
                "dall-e-2",
            )
        ),
    ),
    "sora2api": tuple(_sora2()),
}
