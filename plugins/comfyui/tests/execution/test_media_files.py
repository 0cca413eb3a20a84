"""What becomes of the files that a graph made, and of graphs that nothing was given for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from framegate.core.errors import GenerationFailed, StorageFull
from framegate.plugins.comfyui.execution.media_files import add_audio, animation_to_video, strip_metadata
from tests.support.file_size import limit_file_size

SECRET = "nobody/should/read/this.safetensors"


def write_video(path: Path, *, frames: int = 24, sound: bool = False) -> Path:
    with av.open(path, "w", options={"movflags": "use_metadata_tags"}) as made:
        made.metadata["prompt"] = json.dumps({"1": SECRET})
        stream = made.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        audio = made.add_stream("aac", rate=48_000, layout="stereo") if sound else None
        for index in range(frames):
            picture = np.full((48, 64, 3), index * 8 % 256, np.uint8)
            made.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        made.mux(stream.encode(None))
        if audio is not None:
            silence = av.AudioFrame.from_ndarray(
                np.zeros((2, 1024), np.float32), format="fltp", layout="stereo"
            )
            silence.rate = 48_000
            made.mux(audio.encode(silence))
            made.mux(audio.encode(None))
    return path


def write_sound(path: Path, seconds: float) -> Path:
    with av.open(path, "w") as made:
        stream = made.add_stream("flac", rate=44_100, layout="mono")
        time = np.arange(round(seconds * 44_100)) / 44_100
        tone = (np.sin(2 * np.pi * 440 * time) * 16_000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.rate = 44_100
        made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    return path


def frames_and_seconds(path: Path) -> tuple[int, dict[str, float]]:
    with av.open(path) as video:
        frames = sum(1 for _ in video.decode(video=0))
    with av.open(path) as video:
        ends: dict[str, float] = {
            stream.type: float((stream.duration or 0) * (stream.time_base or 0)) for stream in video.streams
        }
    return frames, ends


def test_a_video_loses_its_metadata_and_nothing_else(tmp_path: Path) -> None:
    source = write_video(tmp_path / "result-0.mp4", sound=True)
    assert SECRET.encode() in source.read_bytes()
    plain = strip_metadata(source)
    assert SECRET.encode() not in plain.read_bytes()
    frames, ends = frames_and_seconds(plain)
    assert (frames, set(ends)) == (24, {"video", "audio"})
    assert plain.read_bytes().index(b"moov") < plain.read_bytes().index(b"mdat"), "it plays while it loads"


def test_an_image_loses_its_texts(tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("prompt", SECRET)
    source = tmp_path / "result-0.png"
    Image.new("RGB", (8, 8), "red").save(source, pnginfo=texts)
    plain = strip_metadata(source)
    assert SECRET.encode() not in plain.read_bytes()
    with Image.open(plain) as picture:
        assert picture.getpixel((4, 4)) == (255, 0, 0)


def noise(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "options",
    [
        {"format": "webp", "quality": 80},
        {"format": "webp", "lossless": True},
        {"format": "jpeg", "comment": SECRET.encode()},
        {"format": "jpeg", "progressive": True},
    ],
    ids=str,
)
def test_an_image_loses_its_exif_and_keeps_its_pixels(options: dict[str, Any], tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = f'workflow:{{"1": "{SECRET}"}}'
    source = tmp_path / f"result-0.{options['format']}"
    profile = b"\0" * 36 + b"acsp" + b"\0" * 88
    xmp = f"<x:xmpmeta>{SECRET}</x:xmpmeta>".encode()
    noise(1).save(source, exif=exif, xmp=xmp, icc_profile=profile, **options)
    with Image.open(source) as picture:
        before = np.asarray(picture.convert("RGB"))
    source.write_bytes(source.read_bytes() + (SECRET.encode() if options["format"] == "jpeg" else b""))
    plain = strip_metadata(source)
    assert SECRET.encode() not in plain.read_bytes()
    with Image.open(plain) as picture:
        assert picture.info["icc_profile"] == profile
        assert not picture.getexif()
        assert (np.asarray(picture.convert("RGB")) == before).all()


def test_several_images_stay_several(tmp_path: Path) -> None:
    made: list[Path] = []
    for index in range(2):
        source = tmp_path / f"result-{index}.png"
        noise(index).save(source)
        made.append(strip_metadata(source))
    for index, path in enumerate(made):
        with Image.open(path) as picture:
            assert (np.asarray(picture) == np.asarray(noise(index))).all()


def test_a_full_disk_is_not_comfyui_s_fault(tmp_path: Path) -> None:
    picture = tmp_path / "result-0.png"
    noise(1).save(picture)
    video = write_video(tmp_path / "result-1.mp4", frames=96)
    animated = tmp_path / "result-2.webp"
    noise(1).save(animated, save_all=True, append_images=[noise(2)], lossless=True)
    sound = write_sound(tmp_path / "sound.flac", 3.0)
    makers: list[Callable[[], Path]] = [
        lambda: strip_metadata(picture),
        lambda: animation_to_video(animated, 12),
        lambda: add_audio(video, sound),
        lambda: strip_metadata(video),
    ]
    for make in makers:
        with limit_file_size(1000), pytest.raises(StorageFull):
            make()


@pytest.mark.parametrize(
    ("suffix", "options"), [(".webp", {"lossless": True}), (".png", {}), (".webp", {"quality": 90})], ids=str
)
@pytest.mark.parametrize("fps", [12.0, 24.0])
def test_an_animation_becomes_a_video(
    suffix: str, options: dict[str, Any], fps: float, tmp_path: Path
) -> None:
    """Saved as ComfyUI does it; the third and the fourth picture are the same and are saved as one."""
    pictures = [Image.new("RGB", (41, 30), (shade, 255 - shade, 40)) for shade in (0, 80, 160, 160, 240)]
    source = tmp_path / f"result-0{suffix}"
    first, *others = pictures
    first.save(source, save_all=True, append_images=others, duration=int(1000 / fps), **options)
    made = strip_metadata(animation_to_video(source, fps))
    with av.open(made) as video:
        stream = video.streams.video[0]
        assert stream.average_rate == fps
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
    assert [frame.shape for frame in frames] == [(30, 40, 3)] * 5
    for frame, picture in zip(frames, pictures, strict=True):
        assert np.abs(frame.mean(axis=(0, 1)) - np.asarray(picture.getpixel((0, 0)))).max() < 4
    sounding = add_audio(made, write_sound(tmp_path / "sound.flac", 3.0))
    with av.open(sounding) as video:
        assert len(video.streams.audio) == 1


@pytest.mark.parametrize("name", ["result-0.mp4", "result-0.png", "result-0.webp", "result-0.jpg"])
def test_a_file_that_is_none(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"<html>")
    with pytest.raises(GenerationFailed, match="can't be read"):
        strip_metadata(tmp_path / name)


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_a_silent_video_gets_the_sound(seconds: float, tmp_path: Path) -> None:
    video = write_video(tmp_path / "plain.mp4")
    made = add_audio(video, write_sound(tmp_path / "sound.flac", seconds))
    frames, ends = frames_and_seconds(made)
    assert frames == 24
    assert ends["video"] == pytest.approx(1.0)
    assert ends["audio"] == pytest.approx(min(seconds, 1.0), abs=0.15)


def test_a_video_with_sound_keeps_its_own(tmp_path: Path) -> None:
    video = write_video(tmp_path / "plain.mp4", sound=True)
    assert add_audio(video, write_sound(tmp_path / "sound.flac", 1.0)) == video
