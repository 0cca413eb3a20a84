"""Which encoder videos get, and what becomes of one that fails."""

import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import structlog
from av.error import ExternalError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from framegate.core.errors import GenerationFailed
from framegate.media.video import codecs as codecs_module
from framegate.media.video import encode as encode_module
from framegate.media.video.codecs import X264, VideoCodec, VideoCodecs, nvenc, probe_codec
from framegate.media.video.color import to_yuv
from framegate.media.video.encode import VideoEncoder
from framegate.media.video.frames import read_frames
from framegate.media.video.probe import describe_video

Frames = list[NDArray[np.uint8]]
MakeFrames = Callable[..., Frames]
CARD = VideoCodec("libx264", {"preset": "ultrafast", "qp": "20", "bf": "0", "flags": "+bitexact"})
"""Stands for a card: an encoder with options of its own, and without B-frames."""
NO_CARD = "h264_nvenc" in av.codecs_available and not Path("/dev/nvidia0").exists()


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(device: str) -> VideoCodec:
        assert device == "cuda:0"
        return CARD

    monkeypatch.setattr(codecs_module, "nvenc", found)


class Probe:
    def __init__(self, answer: str = "") -> None:
        self.asked: list[tuple[VideoCodec, int, int]] = []
        self._answer = answer

    def __call__(self, codec: VideoCodec, width: int, height: int) -> str:
        self.asked.append((codec, width, height))
        return self._answer


def encoded(path: Path, frames: Frames, codec: VideoCodec | VideoCodecs) -> bytes:
    with VideoEncoder(path, width=64, height=48, fps=24, codec=codec) as encoder:
        for frame in frames:
            encoder.write(frame)
        info = encoder.finish()
    assert info == describe_video(path)
    assert not list(path.parent.glob("*.silent"))
    return path.read_bytes()


@pytest.mark.usefixtures("card")
def test_a_card_is_probed_once_and_then_used() -> None:
    probe = Probe()
    chosen = VideoCodecs("cuda:0", probe=probe)
    assert not probe.asked, "only the first video needs it"
    assert [chosen.choose(1280, 704), chosen.choose(64, 48)] == [CARD, CARD]
    assert probe.asked == [(CARD, 1280, 704)]


@pytest.mark.usefixtures("card")
def test_a_card_that_fails_its_probe_is_never_used() -> None:
    probe = Probe("no sessions are left")
    chosen = VideoCodecs("cuda:0", probe=probe)
    with structlog.testing.capture_logs() as lines:
        assert [chosen.choose(64, 48), chosen.choose(64, 48)] == [X264, X264]
    assert len(probe.asked) == 1
    [line] = lines
    assert (line["event"], line["encoder"]) == ("video_encoder_chosen", "libx264")
    assert "no sessions are left" in line["reason"]


@pytest.mark.usefixtures("card")
def test_who_wants_x264_gets_it_without_a_probe() -> None:
    probe = Probe()
    assert VideoCodecs("cuda:0", choice="x264", probe=probe).choose(64, 48) is X264
    assert not probe.asked


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_other_devices_encode_nothing(device: str) -> None:
    assert nvenc(device) is None


@pytest.mark.skipif("h264_nvenc" not in av.codecs_available, reason="this FFmpeg has no NVENC")
@pytest.mark.parametrize(("device", "number"), [("cuda", "0"), ("cuda:3", "3")])
def test_each_worker_uses_its_own_card(device: str, number: str) -> None:
    codec = nvenc(device)
    assert codec is not None
    assert (codec.name, codec.options["gpu"]) == ("h264_nvenc", number)


@pytest.mark.usefixtures("card")
def test_both_encoders_keep_the_same_contract(moving_frames: MakeFrames, tmp_path: Path) -> None:
    frames = moving_frames(20)
    encoded(tmp_path / "x264.mp4", frames, X264)
    encoded(tmp_path / "card.mp4", frames, VideoCodecs("cuda:0", probe=Probe()))

    def facts(path: Path) -> list[object]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            times = [frame.time for frame in container.decode(stream)]
            colours = context.colorspace, context.color_range, context.color_primaries, context.color_trc
            return [context.name, context.pix_fmt, *colours, stream.start_time, stream.duration, times]

    assert facts(tmp_path / "x264.mp4") == facts(tmp_path / "card.mp4")
    for name in ("x264.mp4", "card.mp4"):
        for frame, found in zip(frames, read_frames(tmp_path / name), strict=True):
            assert np.abs(frame.astype(int) - found).mean() < 4


def test_an_encoder_that_works_is_found_to_work() -> None:
    assert probe_codec(CARD, 320, 192) == ""


def test_what_is_wrong_with_an_encoder_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no_such_encoder" in probe_codec(VideoCodec("no_such_encoder", {}), 320, 192)
    monkeypatch.setattr(codecs_module, "_PROBE", (sys.executable, "-c", "import os; os.abort()"))
    assert probe_codec(CARD, 320, 192) == "it ends with exit code -6"
    monkeypatch.setattr(codecs_module, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(codecs_module, "_PROBE", (sys.executable, "-c", "import time; time.sleep(60)"))
    assert "longer than 0.1 s" in probe_codec(CARD, 320, 192)


@pytest.mark.skipif(not NO_CARD, reason="there is a card, or this FFmpeg has no NVENC")
def test_without_a_card_the_probe_fails_and_videos_are_encoded_nevertheless(
    moving_frames: MakeFrames, tmp_path: Path
) -> None:
    codec = nvenc("cuda:0")
    assert codec is not None
    assert probe_codec(codec, 320, 192)
    frames = moving_frames(9)
    expected = encoded(tmp_path / "x264.mp4", frames, X264)
    assert encoded(tmp_path / "probed.mp4", frames, VideoCodecs("cuda:0")) == expected
    # As when all sessions of a card that works are taken.
    chosen = VideoCodecs("cuda:0", probe=Probe())
    assert chosen.choose(64, 48) == codec
    assert encoded(tmp_path / "taken.mp4", frames, chosen) == expected
    assert chosen.choose(64, 48) is X264


@pytest.fixture
def failing_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the card fail at a frame, counted from 1."""

    def arrange(number: int) -> None:
        left = [number]

        def failing(frame: VideoFrame) -> VideoFrame:
            left[0] -= 1
            if left[0] == 0:
                raise ExternalError(1, "the card was lost")
            return to_yuv(frame)

        monkeypatch.setattr(encode_module, "to_yuv", failing)

    return arrange


@pytest.mark.usefixtures("card")
def test_a_card_that_fails_at_the_first_frame_costs_none(
    failing_at: Callable[[int], None], moving_frames: MakeFrames, tmp_path: Path
) -> None:
    frames = moving_frames(9)
    expected = encoded(tmp_path / "x264.mp4", frames, X264)
    failing_at(1)
    assert encoded(tmp_path / "card.mp4", frames, VideoCodecs("cuda:0", probe=Probe())) == expected


@pytest.mark.usefixtures("card")
def test_a_card_that_fails_later_fails_the_job_and_no_other(
    failing_at: Callable[[int], None], moving_frames: MakeFrames, tmp_path: Path
) -> None:
    chosen = VideoCodecs("cuda:0", probe=Probe())
    failing_at(5)
    with pytest.raises(GenerationFailed, match=r"failed at frame 5 .* now uses libx264"):
        encoded(tmp_path / "lost.mp4", moving_frames(9), chosen)
    assert list(tmp_path.iterdir()) == []
    assert chosen.choose(64, 48) is X264
