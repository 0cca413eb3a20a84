"""Which encoder makes a video's H.264: the graphics card's, where it works, or else x264."""

import logging
import platform
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from threading import Thread

import av
import msgspec
import structlog
from msgspec import Struct

from framegate.core.errors import GenerationFailed
from framegate.core.settings import VideoEncoderChoice

PROBE_SECONDS = 30.0
"""How long a graphics card may take to encode a few frames."""
PROBE_SIZE = 1280, 704
"""Width and height of those frames: a usual size, as each encoder has a smallest and a largest one."""
_PROBE = (sys.executable, "-m", "framegate.media.video.codec_probe")
log = structlog.get_logger(__name__)


class VideoCodec(Struct, frozen=True):
    """An encoder by FFmpeg's ``name``, and its ``options``.

    It works in ``threads`` threads on whole frames; 0 leaves that to the encoder.
    """

    name: str
    options: Mapping[str, str]
    threads: int = 0


X264_OPTIONS = {"preset": "veryfast", "crf": "18", "flags": "+bitexact"}
if platform.machine().lower() in ("x86_64", "amd64"):
    # x264's AVX-512 code reads memory that was never written, so that the same frames come out as different
    # files. What numpy needs anyway is no slower at this preset and gives one result on all processors.
    X264_OPTIONS["x264-params"] = "asm=SSE4.2"

X264 = VideoCodec("libx264", X264_OPTIONS, threads=4)
"""Its threads are fixed, since its output depends on them; slices make files a third larger."""

Probe = Callable[[VideoCodec], str]


class VideoCodecFailed(Exception):
    """An encoder, not the file that it writes to, failed with ``error`` at the ``frame`` of that number."""

    def __init__(self, codec: VideoCodec, frame: int, error: Exception) -> None:
        super().__init__(f"The video encoder {codec.name} failed at frame {frame} ({error}).")
        self.error = error


def nvenc(device: str) -> VideoCodec | None:
    """Return the encoder of an NVIDIA card ("cuda:1"); None for other devices, or an FFmpeg without NVENC."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or "h264_nvenc" not in av.codecs_available:
        return None
    options = {"preset": "p5", "tune": "hq", "rc": "vbr", "cq": "19", "b": "0", "g": "250", "bf": "0"}
    return VideoCodec("h264_nvenc", {**options, "flags": "+bitexact", "gpu": number or "0"})


def probe_codec(codec: VideoCodec) -> str:
    """Return why ``codec`` can't encode frames of `PROBE_SIZE`; empty if it has encoded some.

    A process of its own encodes and decodes them: a broken driver may hang or crash.
    """
    try:
        done = subprocess.run(  # noqa: S603 # nosec B603 # this interpreter, a module of ours
            [*_PROBE, msgspec.json.encode(codec).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it takes longer than {PROBE_SECONDS:g} s to encode a few frames"
    except OSError as error:
        return f"no process could be started to try it: {error.strerror}"
    if done.returncode:
        return done.stdout.decode(errors="replace").strip() or f"it ends with exit code {done.returncode}"
    return ""


def choose_codec(
    device: str, choice: VideoEncoderChoice = "auto", probe: Probe = probe_codec
) -> tuple[VideoCodec, str]:
    """Return which encoder the videos of a device get, and a phrase that says why."""
    if choice != "auto":
        return X264, f'worker.video_encoder is "{choice}"'
    card = nvenc(device)
    if card is None:
        return X264, "this FFmpeg has no NVENC" if device.startswith("cuda") else f"{device} has no NVENC"
    if reason := probe(card):
        return X264, f"{card.name} does not work: {reason}"
    return card, "it has encoded a few frames"


class VideoCodecs:
    """Choose the encoders of one device's videos.

    With ``choice`` "auto" its card encodes them from the moment that ``probe`` has found that it can. Videos
    that begin before that don't wait for it; x264 encodes them.
    """

    def __init__(
        self, device: str = "cpu", *, choice: VideoEncoderChoice = "auto", probe: Probe = probe_codec
    ) -> None:
        self._device = device
        self._choice: VideoEncoderChoice = choice
        self._probe = probe
        self._card: VideoCodec | None = None

    @property
    def preferred(self) -> VideoCodec:
        """The encoder that a video gets which begins now."""
        return self._card or X264

    def start_probe(self) -> Thread:
        """Find out in a thread whether the card can encode, and log which encoder videos get and why."""
        probing = Thread(target=self._find_out, name="video-encoder-probe", daemon=True)
        probing.start()
        return probing

    @contextmanager
    def for_video(self) -> Generator[Sequence[VideoCodec]]:
        """Yield the encoders for one video, the preferred one first.

        Raises:
            GenerationFailed: The card failed in the middle of the video. It encodes no further one.
        """
        card = self._card
        try:
            yield (X264,) if card is None else (card, X264)
        except VideoCodecFailed as failure:
            self._card = None
            self._log_choice(logging.WARNING, str(failure))
            raise GenerationFailed(
                f"{failure} Submit the job again: this worker now uses {X264.name}."
            ) from failure

    def _find_out(self) -> None:
        codec, reason = choose_codec(self._device, self._choice, self._probe)
        self._card = None if codec is X264 else codec
        self._log_choice(logging.INFO, reason)

    def _log_choice(self, level: int, reason: str) -> None:
        encoder = self.preferred.name
        log.log(level, "video_encoder_chosen", encoder=encoder, device=self._device, reason=reason)
