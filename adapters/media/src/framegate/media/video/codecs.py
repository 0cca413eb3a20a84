"""Which encoder makes a video's H.264: the graphics card's, where it works, or else x264."""

import platform
import subprocess
import sys
from collections.abc import Callable, Mapping

import av
import msgspec
import structlog
from msgspec import Struct

from framegate.core.settings import VideoEncoderChoice

PROBE_SECONDS = 30.0
"""How long a graphics card may take to encode a few frames."""
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

Probe = Callable[[VideoCodec, int, int], str]


def nvenc(device: str) -> VideoCodec | None:
    """Return the encoder of an NVIDIA card ("cuda:1"); None for other devices, or an FFmpeg without NVENC."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or "h264_nvenc" not in av.codecs_available:
        return None
    options = {"preset": "p5", "tune": "hq", "rc": "vbr", "cq": "19", "b": "0", "g": "250", "bf": "0"}
    return VideoCodec("h264_nvenc", {**options, "flags": "+bitexact", "gpu": number or "0"})


def probe_codec(codec: VideoCodec, width: int, height: int) -> str:
    """Return why ``codec`` can't encode frames of this size; empty if it has encoded some.

    A process of its own encodes and decodes them: a broken driver may hang or crash.
    """
    arguments = [msgspec.json.encode(codec).decode(), str(width), str(height)]
    try:
        done = subprocess.run(  # noqa: S603 # nosec B603 # this interpreter, a module of ours
            [*_PROBE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it takes longer than {PROBE_SECONDS:g} s to encode a few frames"
    if done.returncode:
        return done.stdout.decode(errors="replace").strip() or f"it ends with exit code {done.returncode}"
    return ""


class VideoCodecs:
    """Choose the encoders of one device's videos.

    With ``choice`` "auto" its card encodes them, if ``probe`` finds that it can when the first one begins.
    """

    def __init__(
        self, device: str = "cpu", *, choice: VideoEncoderChoice = "auto", probe: Probe = probe_codec
    ) -> None:
        self._device = device
        self._card = nvenc(device) if choice == "auto" else None
        self._probe = probe
        self._is_probed = False

    def choose(self, width: int, height: int) -> VideoCodec:
        """Return the encoder for a video of this size."""
        if self._card is not None and not self._is_probed:
            self._is_probed = True
            if reason := self._probe(self._card, width, height):
                self.give_up(reason)
            else:
                log.info("video_encoder_chosen", encoder=self._card.name, device=self._device)
        return self._card or X264

    def give_up(self, reason: str) -> None:
        """Note that the card can't encode; x264 is chosen from now on."""
        if self._card is not None:
            log.warning(
                "video_encoder_chosen",
                encoder=X264.name,
                device=self._device,
                reason=f"{self._card.name} does not work: {reason}",
            )
            self._card = None
