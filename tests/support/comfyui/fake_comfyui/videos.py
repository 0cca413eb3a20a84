"""Nodes that make, take and save videos and sound."""

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

from tests.support.comfyui.fake_comfyui.declaring import (
    Made,
    Run,
    Shown,
    combo,
    flag,
    link,
    node,
    number,
    old_combo,
    optional,
    text,
    uploaded,
    whole,
)
from tests.support.comfyui.fake_comfyui.folders import Folders
from tests.support.comfyui.fake_comfyui.metadata import as_text
from tests.support.comfyui.fake_comfyui.pictures import Pictures


class Audio(Struct, frozen=True):
    """``samples``: float32, channels × samples."""

    samples: NDArray[np.float32]
    rate: int


class Video(Struct, frozen=True):
    pictures: Pictures
    fps: float
    sound: Audio | None = None


def write(path: Path, video: Video, codec: Literal["h264", "libvpx-vp9"], metadata: str) -> None:
    with av.open(path, "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata["prompt"] = metadata
        stream = container.add_stream(codec, rate=Fraction(video.fps).limit_denominator(1000))
        stream.height, stream.width = video.pictures.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = (
            {"preset": "ultrafast"} if codec == "h264" else {"cpu-used": "8", "deadline": "realtime"}
        )
        voice = None if video.sound is None else container.add_stream("aac", rate=video.sound.rate)
        for picture in video.pictures:
            container.mux(stream.encode(VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
        if voice is not None and video.sound is not None:
            container.mux(voice.encode(_audio_frame(video.sound)))
            container.mux(voice.encode(None))


def write_sound(path: Path, sound: Audio) -> None:
    with av.open(path, "w") as container:
        stream = container.add_stream("flac", rate=sound.rate)
        container.mux(stream.encode(_audio_frame(sound, "s16")))
        container.mux(stream.encode(None))


def _audio_frame(sound: Audio, kind: str = "fltp") -> AudioFrame:
    if kind == "s16":
        whole_numbers = (sound.samples.T.reshape(1, -1) * 32767).astype(np.int16)
        frame = AudioFrame.from_ndarray(whole_numbers, "s16", "stereo")
    else:
        frame = AudioFrame.from_ndarray(sound.samples, kind, "stereo")
    frame.sample_rate = sound.rate
    return frame


def no_such_video(folders: Folders, file: str) -> str | None:
    return None if folders.input_file(file).is_file() else f"Invalid video file: {file}"


def no_such_sound(folders: Folders, audio: str) -> str | None:
    return None if folders.input_file(audio).is_file() else f"Invalid audio file: {audio}"


def when_changed(folders: Folders, file: str) -> str:
    return str(folders.input_file(file).stat().st_mtime_ns)


@node(
    "LoadVideo",
    "VIDEO",
    check=no_such_video,
    fingerprint=when_changed,
    file=uploaded("video_upload", listed_old_way=False),
)
def load_video(run: Run, file: str) -> Made:
    with av.open(run.folders.input_file(file), "r") as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate or 24)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    return (Video(np.stack(frames).astype(np.uint8), fps),)


@node("LoadAudio", "AUDIO", v3=False, check=no_such_sound, audio=uploaded("audio_upload"))
def load_audio(run: Run, audio: str) -> Made:
    with av.open(run.folders.input_file(audio), "r") as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", "stereo", stream.rate)
        parts = [
            part.to_ndarray() for frame in container.decode(stream) for part in resampler.resample(frame)
        ]
        return (Audio(np.concatenate(parts, axis=1).astype(np.float32), stream.rate),)


@node("GetVideoComponents", "IMAGE", "AUDIO", "FLOAT", video=link("VIDEO"))
def get_video_components(run: Run, video: Video) -> Made:
    return video.pictures, video.sound, video.fps


@node(
    "EmptyAudio",
    "AUDIO",
    duration=number(60.0, 0.0, 1e6),
    sample_rate=whole(44100, 1, 192000),
    channels=whole(2, 1, 2),
)
def empty_audio(run: Run, duration: float, sample_rate: int, channels: int) -> Made:
    return (Audio(np.zeros((2, round(duration * sample_rate)), np.float32), sample_rate),)


@node(
    "CreateVideo",
    "VIDEO",
    images=link("IMAGE"),
    fps=number(30.0, 1.0, 120.0, 1.0),
    audio=optional(link("AUDIO")),
    bit_depth=optional(whole(8, 8, 10, 2)),
)
def create_video(
    run: Run, images: Pictures, fps: float, audio: Audio | None = None, bit_depth: int = 8
) -> Made:
    return (Video(images, fps, audio),)


@node(
    "SaveVideo",
    output=True,
    video=link("VIDEO"),
    filename_prefix=text("video/ComfyUI"),
    format=combo("auto", "mp4"),
    codec=combo("auto", "h264"),
)
def save_video(run: Run, video: Video, filename_prefix: str, **container: str) -> Made:
    path, told = run.folders.new_file("output", filename_prefix, "mp4")
    write(path, video, "h264", as_text(run.prompt))
    return Shown({"images": [told], "animated": [True]})


@node(
    "SaveWEBM",
    output=True,
    images=link("IMAGE"),
    filename_prefix=text("ComfyUI"),
    codec=combo("vp9", "av1"),
    fps=number(24.0, 0.01, 1000.0),
    crf=number(32.0, 0.0, 63.0, 1.0),
)
def save_webm(run: Run, images: Pictures, filename_prefix: str, codec: str, fps: float, crf: float) -> Made:
    path, told = run.folders.new_file("output", filename_prefix, "webm")
    write(path, Video(images, fps), "libvpx-vp9", as_text(run.prompt))
    return Shown({"images": [told], "animated": [True]})


@node(
    "SaveAnimatedWEBP",
    output=True,
    v3=False,
    images=link("IMAGE"),
    filename_prefix=text("ComfyUI"),
    fps=number(6.0, 0.01, 1000.0),
    lossless=flag(True),
    quality=whole(80, 0, 100),
    method=old_combo("default", "fastest", "slowest"),
)
def save_animated_webp(
    run: Run, images: Pictures, filename_prefix: str, fps: float, lossless: bool, quality: int, method: str
) -> Made:
    path, told = run.folders.new_file("output", filename_prefix, "webp")
    first, *others = map(Image.fromarray, images)
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{as_text(run.prompt)}"
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=int(1000 / fps),
        lossless=lossless,
        quality=quality,
        exif=exif,
    )
    return Shown({"images": [told], "animated": [len(images) != 1]})


@node(
    "VHS_VideoCombine",
    "VHS_FILENAMES",
    output=True,
    v3=False,
    images=link("IMAGE"),
    frame_rate=number(8, 1, 1000),
    loop_count=whole(0, 0, 100),
    filename_prefix=text("AnimateDiff"),
    format=old_combo("image/gif", "image/webp", "video/h264-mp4"),
    pingpong=flag(default=False),
    save_output=flag(default=True),
    audio=optional(link("AUDIO")),
)
def combine_video(
    run: Run,
    images: Pictures,
    frame_rate: float,
    filename_prefix: str,
    format: str,  # noqa: A002 # the input's name
    save_output: bool,  # called by name
    audio: Audio | None = None,
    **ignored: object,
) -> Made:
    path, told = run.folders.new_file("output" if save_output else "temp", filename_prefix, "mp4")
    write(path, Video(images, frame_rate, audio), "h264", as_text(run.prompt))
    return Shown({"gifs": [{**told, "format": format, "frame_rate": frame_rate, "fullpath": str(path)}]})


@node("SaveAudio", output=True, v3=False, audio=link("AUDIO"), filename_prefix=text("audio/ComfyUI"))
def save_audio(run: Run, audio: Audio, filename_prefix: str) -> Made:
    path, told = run.folders.new_file("output", filename_prefix, "flac")
    write_sound(path, audio)
    return Shown({"audio": [told]})
