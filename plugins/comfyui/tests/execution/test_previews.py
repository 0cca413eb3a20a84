"""Previews: which are reported, and what is ignored."""

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from structlog.testing import capture_logs

from framegate.core.errors import JobCancelled
from framegate.core.testing.backends import RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.comfyui.execution import previews as previews_module
from framegate.plugins.comfyui.execution.previews import Previews

if TYPE_CHECKING:
    from framegate.core.backend import Frame


OURS = "e4b1b7d4-7a51-4f46-8b39-0f2f4a3ea2e4"


SHOT = Shot(
    task=Task.TEXT_TO_IMAGE,
    prompt="a boat",
    width=640,
    height=384,
    num_frames=1,
    fps=0.0,
    seed=1,
    num_inference_steps=20,
    guidance_scale=1.0,
)


def encoded(
    format_: str = "JPEG", mode: str = "RGB", size: tuple[int, int] = (80, 48), **options: Any
) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(buffer, format_, **options)
    return buffer.getvalue()


def with_metadata(image: bytes, prompt_id: object = OURS) -> bytes:
    metadata = json.dumps({"node_id": "3", "prompt_id": prompt_id, "image_type": "image/jpeg"}).encode()
    return struct.pack(">II", 4, len(metadata)) + metadata + image


def without_metadata(image: bytes) -> bytes:
    return struct.pack(">II", 1, 1) + image


@pytest.fixture
def context(tmp_path: Path) -> RecordingContext:
    return RecordingContext(tmp_path)


@pytest.mark.parametrize(
    ("count", "steps", "at"),
    [
        (3, 20, [5, 10, 15]),
        (2, 20, [7, 14]),
        (1, 20, [10]),
        (3, 4, [1, 2, 3]),
        (3, 2, [1, 2]),
        (3, 1, [1]),
    ],
)
def test_previews_are_spread_over_the_sampling(
    context: RecordingContext, count: int, steps: int, at: list[int]
) -> None:
    previews = Previews(SHOT, count)
    reported_at: list[int] = []
    for step in range(1, steps + 1):
        previews.handle_message(with_metadata(encoded()), OURS, step / steps)
        before = len(context.partial_images)
        previews.report(context)
        reported_at += [step] * (len(context.partial_images) - before)
    assert reported_at == at
    assert {frame.shape for frame in context.partial_images} == {(384, 640, 3)}


@pytest.mark.parametrize(
    "image",
    [encoded(), encoded("PNG"), encoded("PNG", "RGBA"), encoded("PNG", "P"), encoded("JPEG", "L")],
)
def test_images_of_every_mode(context: RecordingContext, image: bytes) -> None:
    previews = Previews(SHOT, 3)
    previews.handle_message(with_metadata(image), OURS, 0.5)
    previews.report(context)
    [frame] = context.partial_images
    assert frame.shape == (384, 640, 3)
    assert frame.dtype == np.uint8
    expected = np.asarray(Image.linear_gradient("L").resize((640, 384)), float)
    assert np.abs(frame.mean(axis=2) - expected).mean() < 4


def count_reported(context: RecordingContext, message: bytes, *, after_progress: bool = False) -> int:
    previews = Previews(SHOT, 3)
    if after_progress:
        previews.handle_event("progress", is_ours=True)
    previews.handle_message(message, OURS, 0.5)
    previews.report(context)
    return len(context.partial_images)


def test_only_our_previews_are_reported(context: RecordingContext) -> None:
    assert count_reported(context, with_metadata(encoded(), "another")) == 0
    assert count_reported(context, with_metadata(encoded(), None), after_progress=True) == 0
    assert count_reported(context, without_metadata(encoded())) == 0
    assert count_reported(context, without_metadata(encoded()), after_progress=True) == 1


def bomb() -> bytes:
    """A few bytes that claim to be a gigantic image."""
    return encoded("PNG", "L", (previews_module.MAX_PIXELS // 4096 + 1, 4096), compress_level=9)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0\0\0\4",
        struct.pack(">II", 3, 1) + b"3some text",
        struct.pack(">II", 4, 2**32 - 1) + b"{}",
        struct.pack(">II", 4, 100_000) + b"[" * 100_000,
        struct.pack(">II", 4, 2) + b"[]" + encoded(),
        struct.pack(">II", 4, 2) + b"\xff\xff" + encoded(),
    ],
)
def test_messages_without_a_preview_of_ours(context: RecordingContext, message: bytes) -> None:
    assert count_reported(context, message, after_progress=True) == 0


@pytest.mark.parametrize(
    "image",
    [b"GIF89a", encoded()[:-200], encoded("PNG")[:60], encoded("GIF"), encoded("TIFF"), bomb()],
    ids=["not an image", "truncated", "truncated PNG", "GIF", "TIFF", "bomb"],
)
def test_invalid_previews_are_logged(context: RecordingContext, image: bytes) -> None:
    with capture_logs() as logs:
        assert count_reported(context, with_metadata(image)) == 0
    assert [each["event"] for each in logs] == ["comfyui_preview"]


def test_a_preview_that_is_too_large_is_dropped(
    context: RecordingContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews_module, "MAX_BYTES", 100)
    with capture_logs() as logs:
        assert count_reported(context, with_metadata(encoded())) == 0
    assert [each["reason"] for each in logs] == [f"it has {len(encoded())} bytes"]


def test_an_invalid_preview_does_not_stop_the_others(context: RecordingContext) -> None:
    previews = Previews(SHOT, 3)
    for sampled, image in ((0.25, b"broken"), (0.5, encoded()), (0.75, encoded())):
        previews.handle_message(with_metadata(image), OURS, sampled)
    previews.report(context)
    assert len(context.partial_images) == 2


@given(st.binary(max_size=200), st.sampled_from([b"", struct.pack(">I", 1), struct.pack(">I", 4)]))
def test_any_bytes_are_handled(data: bytes, beginning: bytes) -> None:
    assert count_reported(RecordingContext(Path()), beginning + data, after_progress=True) in (0, 1)


class CancelledContext(RecordingContext):
    def report_partial_image(self, render: "Callable[[], Frame]") -> None:
        raise JobCancelled


def test_a_cancelled_job_stops(tmp_path: Path) -> None:
    previews = Previews(SHOT, 3)
    previews.handle_message(with_metadata(encoded()), OURS, 0.5)
    with pytest.raises(JobCancelled):
        previews.report(CancelledContext(tmp_path))
