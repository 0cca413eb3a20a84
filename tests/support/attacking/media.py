"""Small files that are expensive to decode."""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
# PyAV's type stubs leave packets without types.

import io
import struct
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

_LONGEST_RUN = 32_767
"""Blocks that one symbol of a progressive JPEG can skip."""
_SILENT_SAMPLES = 4096


def png(width: int = 64, height: int = 64) -> bytes:
    """Return a grey PNG."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (128, 128, 128)).save(buffer, "PNG")
    return buffer.getvalue()


def scan_bomb(scans: int, side: int = 7000) -> bytes:
    """Return a grey progressive JPEG of ``side`` × ``side`` pixels whose scans add nothing.

    Each scan is under a hundred bytes: it skips all blocks in runs, but the decoder visits every one.
    """
    blocks = ((side + 7) // 8) ** 2
    start = b"\xff\xd8" + _segment(0xDB, b"\0" + bytes([16] * 64))
    start += _segment(0xC2, struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0))
    start += _segment(0xC4, b"\x00" + bytes([1] + [0] * 15) + b"\x00")  # DC: the difference is 0
    start += _segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\xe0")  # AC: the end of a run of blocks
    flat = _segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes((blocks + 7) // 8)
    runs = -(-blocks // _LONGEST_RUN)
    empty = _segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + _entropy_coded(("0" + "1" * 14) * runs)
    return start + flat + empty * scans + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _entropy_coded(bits: str) -> bytes:
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")


def static_video(side: int, frames: int, fps: int) -> bytes:
    """Return an MP4 in which every frame repeats the first: a few bytes each, decoded in full size."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = _video_stream(container, side, fps)
        key, same = _two_packets(stream, side)
        for index in range(frames):
            _mux_copy(container, stream, key if index == 0 else same, index, Fraction(1, fps))
    return buffer.getvalue()


def video_with_silence(
    minutes: float, *, codec: str = "flac", seconds: float = 1.0, side: int = 128, rate: int = 48_000
) -> bytes:
    """Return an MP4 with ``seconds`` of picture, and with many minutes of silence that take a few bytes."""
    fps = 16
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"strict": "experimental"}) as container:
        video = _video_stream(container, side, fps)
        audio = container.add_stream(codec, rate=rate)
        assert isinstance(audio, AudioStream)
        audio.layout = "stereo"
        key, same = _two_packets(video, side)
        for index in range(max(1, round(seconds * fps))):
            _mux_copy(container, video, key if index == 0 else same, index, Fraction(1, fps))
        silent, samples = _silent_packet(audio, rate)
        for index in range(round(minutes * 60 * rate / samples)):
            _mux_copy(container, audio, silent, index * samples, Fraction(1, rate), duration=samples)
    return buffer.getvalue()


def _video_stream(container: OutputContainer, side: int, fps: int) -> VideoStream:
    stream = container.add_stream("mpeg4", rate=fps)
    assert isinstance(stream, VideoStream)
    stream.width = stream.height = side
    stream.pix_fmt = "yuv420p"
    stream.codec_context.gop_size = 600
    return stream


def _two_packets(stream: VideoStream, side: int) -> tuple[bytes, bytes]:
    frame = VideoFrame.from_ndarray(np.full((side * 3 // 2, side), 128, np.uint8), format="yuv420p")
    packets: list[bytes] = []
    for pts in range(3):
        frame.pts = pts
        packets += [bytes(packet) for packet in stream.encode(frame)]
    packets += [bytes(packet) for packet in stream.encode(None)]
    return packets[0], packets[1]


def _silent_packet(stream: AudioStream, rate: int) -> tuple[bytes, int]:
    """Return one encoded packet of silence, and its length in samples."""
    context = stream.codec_context
    if not context.is_open:
        context.open()
    samples = context.frame_size or _SILENT_SAMPLES
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 2 * samples), np.int16), format="s16", layout="stereo")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format=context.format.name, layout="stereo", rate=rate, frame_size=samples)
    packets: list[bytes] = []
    while not packets:
        for ready in resampler.resample(frame):
            packets += [bytes(packet) for packet in stream.encode(ready)]
    return packets[0], samples


def _mux_copy(
    container: OutputContainer,
    stream: VideoStream | AudioStream,
    data: bytes,
    pts: int,
    time_base: Fraction,
    *,
    duration: int = 1,
) -> None:
    packet = Packet(data)
    packet.stream = stream
    packet.pts = packet.dts = pts
    packet.duration = duration
    packet.time_base = time_base
    packet.is_keyframe = pts == 0 or isinstance(stream, AudioStream)
    container.mux_one(packet)
