"""Nodes that make, take and save videos and audio."""

from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from msgspec import Struct
from numpy.typing import NDArray
from PIL import Image

from tests.support.comfyui.fake_comfyui.folders import Folders
from tests.support.comfyui.fake_comfyui.nodes.declaration import (
    NodeResult,
    Run,
    UiOutput,
    boolean,
    combo,
    integer,
    link,
    metadata_text,
    node,
    number,
    old_style_combo,
    optional,
    text,
    uploaded,
)
from tests.support.comfyui.fake_comfyui.nodes.images import Images


class Audio(Struct, frozen=True):
    """``samples``: float32, channels × samples."""

    samples: NDArray[np.float32]
    rate: int


class Video(Struct, frozen=True):
    images: Images
    fps: float
    audio: Audio | None = None


def write(path: Path, video: Video, codec: Literal["h264", "libvpx-vp9"], metadata: str) -> None:
    with av.open(path, "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata["prompt"] = metadata
        stream = container.add_stream(codec, rate=Fraction(video.fps).limit_denominator(1000))
        stream.height, stream.width = video.images.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = (
            {"preset": "ultrafast"} if codec == "h264" else {"cpu-used": "8", "deadline": "realtime"}
        )
        voice = None if video.audio is None else container.add_stream("aac", rate=video.audio.rate)
        for image in video.images:
            container.mux(stream.encode(VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
        if voice is not None and video.audio is not None:
            container.mux(voice.encode(_audio_frame(video.audio)))
            container.mux(voice.encode(None))


def write_audio(path: Path, audio: Audio) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("flac", rate=audio.rate)
        container.mux(stream.encode(_audio_frame(audio, "s16")))
        container.mux(stream.encode(None))


def _audio_frame(audio: Audio, kind: str = "fltp") -> AudioFrame:
    if kind == "s16":
        int16_samples = (audio.samples.T.reshape(1, -1) * 32767).astype(np.int16)
        frame = AudioFrame.from_ndarray(int16_samples, "s16", "stereo")
    else:
        frame = AudioFrame.from_ndarray(audio.samples, kind, "stereo")
    frame.sample_rate = audio.rate
    return frame


def find_missing_video(folders: Folders, file: str) -> str | None:
    return None if folders.input_file(file).is_file() else f"Invalid video file: {file}"


def find_missing_audio(folders: Folders, audio: str) -> str | None:
    return None if folders.input_file(audio).is_file() else f"Invalid audio file: {audio}"


def modification_time(folders: Folders, file: str) -> str:
    return str(folders.input_file(file).stat().st_mtime_ns)


@node(
    "LoadVideo",
    "VIDEO",
    check=find_missing_video,
    fingerprint=modification_time,
    file=uploaded("video_upload", is_old_style=False),
)
def load_video(run: Run, file: str) -> NodeResult:
    with av.open(run.folders.input_file(file), "r") as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate or 24)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    return (Video(np.stack(frames).astype(np.uint8), fps),)


@node("LoadAudio", "AUDIO", v3=False, check=find_missing_audio, audio=uploaded("audio_upload"))
def load_audio(run: Run, audio: str) -> NodeResult:
    with av.open(run.folders.input_file(audio), "r") as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", "stereo", stream.rate)
        parts = [
            part.to_ndarray() for frame in container.decode(stream) for part in resampler.resample(frame)
        ]
        return (Audio(np.concatenate(parts, axis=1).astype(np.float32), stream.rate),)


@node("GetVideoComponents", "IMAGE", "AUDIO", "FLOAT", video=link("VIDEO"))
def get_video_components(run: Run, video: Video) -> NodeResult:
    return video.images, video.audio, video.fps


@node(
    "EmptyAudio",
    "AUDIO",
    duration=number(60.0, 0.0, 1e6),
    sample_rate=integer(44100, 1, 192000),
    channels=integer(2, 1, 2),
)
def empty_audio(run: Run, duration: float, sample_rate: int, channels: int) -> NodeResult:
    return (Audio(np.zeros((2, round(duration * sample_rate)), np.float32), sample_rate),)


@node(
    "CreateVideo",
    "VIDEO",
    images=link("IMAGE"),
    fps=number(30.0, 1.0, 120.0, 1.0),
    audio=optional(link("AUDIO")),
    bit_depth=optional(integer(8, 8, 10, 2)),
)
def create_video(
    run: Run, images: Images, fps: float, audio: Audio | None = None, bit_depth: int = 8
) -> NodeResult:
    return (Video(images, fps, audio),)


@node(
    "SaveVideo",
    output=True,
    video=link("VIDEO"),
    filename_prefix=text("video/ComfyUI"),
    format=combo("auto", "mp4"),
    codec=combo("auto", "h264"),
)
def save_video(run: Run, video: Video, filename_prefix: str, **container: str) -> NodeResult:
    path, stored = run.folders.new_file("output", filename_prefix, "mp4")
    write(path, video, "h264", metadata_text(run.prompt))
    return UiOutput({"images": [stored], "animated": [True]})


@node(
    "SaveWEBM",
    output=True,
    images=link("IMAGE"),
    filename_prefix=text("ComfyUI"),
    codec=combo("vp9", "av1"),
    fps=number(24.0, 0.01, 1000.0),
    crf=number(32.0, 0.0, 63.0, 1.0),
)
def save_webm(
    run: Run, images: Images, filename_prefix: str, codec: str, fps: float, crf: float
) -> NodeResult:
    path, stored = run.folders.new_file("output", filename_prefix, "webm")
    write(path, Video(images, fps), "libvpx-vp9", metadata_text(run.prompt))
    return UiOutput({"images": [stored], "animated": [True]})


@node(
    "SaveAnimatedWEBP",
    output=True,
    v3=False,
    images=link("IMAGE"),
    filename_prefix=text("ComfyUI"),
    fps=number(6.0, 0.01, 1000.0),
    lossless=boolean(True),
    quality=integer(80, 0, 100),
    method=old_style_combo("default", "fastest", "slowest"),
)
def save_animated_webp(
    run: Run, images: Images, filename_prefix: str, fps: float, lossless: bool, quality: int, method: str
) -> NodeResult:
    path, stored = run.folders.new_file("output", filename_prefix, "webp")
    first, *others = map(Image.fromarray, images)
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{metadata_text(run.prompt)}"
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=int(1000 / fps),
        lossless=lossless,
        quality=quality,
        exif=exif,
    )
    return UiOutput({"images": [stored], "animated": [len(images) != 1]})


@node(
    "VHS_VideoCombine",
    "VHS_FILENAMES",
    output=True,
    v3=False,
    images=link("IMAGE"),
    frame_rate=number(8, 1, 1000),
    loop_count=integer(0, 0, 100),
    filename_prefix=text("AnimateDiff"),
    format=old_style_combo("image/gif", "image/webp", "video/h264-mp4"),
    pingpong=boolean(default=False),
    save_output=boolean(default=True),
    audio=optional(link("AUDIO")),
)
def combine_video(
    run: Run,
    images: Images,
    frame_rate: float,
    filename_prefix: str,
    format: str,  # noqa: A002 # the input's name
    save_output: bool,  # called by name
    audio: Audio | None = None,
    **ignored: object,
) -> NodeResult:
    path, stored = run.folders.new_file("output" if save_output else "temp", filename_prefix, "mp4")
    write(path, Video(images, frame_rate, audio), "h264", metadata_text(run.prompt))
    return UiOutput({"gifs": [{**stored, "format": format, "frame_rate": frame_rate, "fullpath": str(path)}]})


@node("SaveAudio", output=True, v3=False, audio=link("AUDIO"), filename_prefix=text("audio/ComfyUI"))
def save_audio(run: Run, audio: Audio, filename_prefix: str) -> NodeResult:
    path, stored = run.folders.new_file("output", filename_prefix, "flac")
    write_audio(path, audio)
    return UiOutput({"audio": [stored]})
