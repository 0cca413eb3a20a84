"""Source videos."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.video_io import read_source_video
from tests.support.tiny_models import write_video


def grey_levels(frames: list[Image.Image]) -> list[int]:
    return [round(float(np.asarray(frame).mean()) / 20) for frame in frames]


def test_videos_are_taken_at_the_models_rate(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", size=(64, 64))
    assert grey_levels(read_source_video(video, 64, 64, 9, 16.0)) == list(range(9))
    assert grey_levels(read_source_video(video, 64, 64, 4, 8.0)) == [0, 2, 4, 6]
    assert grey_levels(read_source_video(video, 64, 64, 6, 32.0)) == [0, 0, 1, 1, 2, 2]


def test_a_short_video_runs_back_and_forth(tmp_path: Path) -> None:
    video = write_video(tmp_path / "video.mp4", frames=3, size=(64, 64))
    assert grey_levels(read_source_video(video, 64, 64, 8, 16.0)) == [0, 1, 2, 1, 0, 1, 2, 1]
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(GenerationFailed, match="can't be read"):
        read_source_video(tmp_path / "text.mp4", 64, 64, 8, 16.0)
