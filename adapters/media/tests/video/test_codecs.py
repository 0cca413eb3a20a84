"""Which encoder videos get, and what becomes of one that fails."""

import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import av
import numpy as np
import pytest
import structlog
from av.error import ExternalError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import GenerationFailed, StorageFull
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
        self.asked: list[VideoCodec] = []
        self.may_answer = Event()
        self._answer = answer

    def __call__(self, codec: VideoCodec) -> str:
        self.asked.append(codec)
        assert self.may_answer.wait(60)
        return self._answer


def probed(device: str = "cuda:0", *, answer: str = "") -> VideoCodecs:
    """The encoders of a worker whose probe has ended."""
    probe = Probe(answer)
    probe.may_answer.set()
    codecs = VideoCodecs(device, probe=probe)
    codecs.start_probe().join(60)
    return codecs


def encoded(path: Path, frames: Frames, codecs: VideoCodecs | None = None) -> bytes:
    with ExitStack() as stack:
        chosen: Sequence[VideoCodec] = stack.enter_context(codecs.for_video()) if codecs else (X264,)
        encoder = stack.enter_context(VideoEncoder(path, width=64, height=48, fps=24, codecs=chosen))
        for frame in frames:
            encoder.write(frame)
        info = encoder.finish()
    assert info == describe_video(path)
    assert not list(path.parent.glob("*.silent"))
    return path.read_bytes()


@pytest.mark.usefixtures("card")
def test_a_card_is_used_once_its_probe_has_passed_and_no_video_waits_for_that() -> None:
    probe = Probe()
    codecs = VideoCodecs("cuda:0", probe=probe)
    with structlog.testing.capture_logs() as lines:
        probing = codecs.start_probe()
        with codecs.for_video() as chosen:
            assert list(chosen) == [X264]
        probe.may_answer.set()
        probing.join(60)
        for _ in range(2):
            with codecs.for_video() as chosen:
                assert list(chosen) == [CARD, X264]
    assert probe.asked == [CARD]
    [line] = lines
    assert (line["encoder"], line["device"]) == (CARD.name, "cuda:0")
    assert "has encoded a few frames" in line["reason"]


@pytest.mark.usefixtures("card")
def test_a_card_that_fails_its_probe_is_never_used() -> None:
    with structlog.testing.capture_logs() as lines:
        codecs = probed(answer="no sessions are left")
    assert codecs.preferred is X264
    with codecs.for_video() as chosen:
        assert list(chosen) == [X264]
    [line] = lines
    assert (line["event"], line["encoder"]) == ("video_encoder_chosen", "libx264")
    assert "no sessions are left" in line["reason"]


@pytest.mark.usefixtures("card")
def test_who_wants_x264_gets_it_without_a_probe() -> None:
    probe = Probe()
    codecs = VideoCodecs("cuda:0", choice="x264", probe=probe)
    with structlog.testing.capture_logs() as lines:
        codecs.start_probe().join(60)
    assert codecs.preferred is X264
    assert not probe.asked
    assert [(line["encoder"], line["reason"]) for line in lines] == [
        ("libx264", 'worker.video_encoder is "x264"')
    ]


def test_a_worker_without_a_card_says_so() -> None:
    with structlog.testing.capture_logs() as lines:
        assert probed("cpu").preferred is X264
    assert [(line["encoder"], line["reason"]) for line in lines] == [("libx264", "cpu has no NVENC")]


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
    encoded(tmp_path / "x264.mp4", frames)
    encoded(tmp_path / "card.mp4", frames, probed())

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
    assert probe_codec(CARD) == ""


def test_what_is_wrong_with_an_encoder_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no_such_encoder" in probe_codec(VideoCodec("no_such_encoder", {}))
    monkeypatch.setattr(codecs_module, "_PROBE", (sys.executable, "-c", "import os; os.abort()"))
    assert probe_codec(CARD) == "it ends with exit code -6"
    monkeypatch.setattr(codecs_module, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(codecs_module, "_PROBE", (sys.executable, "-c", "import time; time.sleep(60)"))
    assert "longer than 0.1 s" in probe_codec(CARD)


@pytest.mark.skipif(not NO_CARD, reason="there is a card, or this FFmpeg has no NVENC")
def test_without_a_card_the_probe_fails_and_videos_are_encoded_nevertheless(
    moving_frames: MakeFrames, tmp_path: Path
) -> None:
    codec = nvenc("cuda:0")
    assert codec is not None
    assert probe_codec(codec)
    frames = moving_frames(9)
    expected = encoded(tmp_path / "x264.mp4", frames)
    codecs = VideoCodecs("cuda:0")
    codecs.start_probe().join(60)
    assert codecs.preferred is X264
    assert encoded(tmp_path / "probed.mp4", frames, codecs) == expected
    # As when all sessions of a card that works are taken, or its smallest width is larger.
    codecs = probed()
    assert codecs.preferred == codec
    with structlog.testing.capture_logs() as lines:
        assert encoded(tmp_path / "taken.mp4", frames, codecs) == expected
    [line] = lines
    assert (line["event"], line["encoder"]) == ("video_encoder_skipped", "h264_nvenc")
    assert codecs.preferred == codec, "the next video may have a session, or another size"


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
    expected = encoded(tmp_path / "x264.mp4", frames)
    failing_at(1)
    codecs = probed()
    assert encoded(tmp_path / "card.mp4", frames, codecs) == expected
    assert codecs.preferred is CARD


@pytest.mark.usefixtures("card")
def test_a_card_that_fails_later_fails_the_job_and_no_other(
    failing_at: Callable[[int], None], moving_frames: MakeFrames, tmp_path: Path
) -> None:
    codecs = probed()
    failing_at(5)
    with pytest.raises(GenerationFailed, match=r"failed at frame 5 .* now uses libx264"):
        encoded(tmp_path / "lost.mp4", moving_frames(9), codecs)
    assert list(tmp_path.iterdir()) == []
    assert codecs.preferred is X264


def test_an_error_of_the_last_encoder_stays_what_it_is(
    failing_at: Callable[[int], None], moving_frames: MakeFrames, tmp_path: Path
) -> None:
    failing_at(5)
    with pytest.raises(ExternalError, match="the card was lost"):
        encoded(tmp_path / "lost.mp4", moving_frames(9))


@pytest.fixture
def small_files() -> Iterator[None]:
    """A limit on the size of files, which stands for a full disk: either fails a write."""
    limits, action = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, action)


@pytest.mark.usefixtures("card", "small_files")
@pytest.mark.parametrize("codecs", [probed, VideoCodecs], ids=["card", "x264"])
def test_a_full_disk_is_not_blamed_on_the_card(codecs: Callable[[], VideoCodecs], tmp_path: Path) -> None:
    chosen = codecs()
    before = chosen.preferred
    noise = [np.random.default_rng(seed).integers(0, 255, (48, 64, 3), np.uint8) for seed in range(150)]
    with pytest.raises(StorageFull), translate_disk_full():
        encoded(tmp_path / "noise.mp4", noise, chosen)
    assert chosen.preferred is before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("card")
def test_a_probe_that_can_not_be_started_means_x264(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.run", refuse)
    codecs = VideoCodecs("cuda:0")
    with structlog.testing.capture_logs() as lines:
        codecs.start_probe().join(60)
    assert codecs.preferred is X264
    assert "no process could be started to try it: Resource temporarily unavailable" in lines[0]["reason"]


@pytest.mark.usefixtures("small_files")
def test_a_probe_names_no_file() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    assert probe_codec(CARD) == "OSError: File too large"
