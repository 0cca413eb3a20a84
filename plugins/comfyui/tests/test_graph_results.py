"""What becomes of the files that a graph made, and of graphs that nothing was given for."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from graphs import node
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from framegate.core.errors import GenerationFailed
from framegate.plugins.comfyui.graph import read_graph
from framegate.plugins.comfyui.pruning import pruned
from framegate.plugins.comfyui.results import with_sound, without_metadata
from framegate.plugins.comfyui.schema import read_schema

SECRET = "nobody/should/read/this.safetensors"


def write_video(path: Path, *, frames: int = 24, sound: bool = False) -> Path:
    with av.open(path, "w", options={"movflags": "use_metadata_tags"}) as made:
        made.metadata["prompt"] = json.dumps({"1": SECRET})
        stream = made.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        audio = made.add_stream("aac", rate=48_000, layout="stereo") if sound else None
        for index in range(frames):
            picture = np.full((48, 64, 3), index * 8, np.uint8)
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
    plain = without_metadata(source)
    assert SECRET.encode() not in plain.read_bytes()
    frames, ends = frames_and_seconds(plain)
    assert (frames, set(ends)) == (24, {"video", "audio"})
    assert plain.read_bytes().index(b"moov") < plain.read_bytes().index(b"mdat"), "it plays while it loads"


def test_a_picture_loses_its_texts(tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("prompt", SECRET)
    source = tmp_path / "result-0.png"
    Image.new("RGB", (8, 8), "red").save(source, pnginfo=texts)
    plain = without_metadata(source)
    assert SECRET.encode() not in plain.read_bytes()
    with Image.open(plain) as picture:
        assert picture.getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("name", ["result-0.mp4", "result-0.png"])
def test_a_file_that_is_none(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"<html>")
    with pytest.raises(GenerationFailed, match="can't be read"):
        without_metadata(tmp_path / name)


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_a_silent_video_gets_the_sound(seconds: float, tmp_path: Path) -> None:
    video = write_video(tmp_path / "plain.mp4")
    made = with_sound(video, write_sound(tmp_path / "sound.flac", seconds))
    frames, ends = frames_and_seconds(made)
    assert frames == 24
    assert ends["video"] == pytest.approx(1.0)
    assert ends["audio"] == pytest.approx(min(seconds, 1.0), abs=0.15)


def test_a_video_with_sound_keeps_its_own(tmp_path: Path) -> None:
    video = write_video(tmp_path / "plain.mp4", sound=True)
    assert with_sound(video, write_sound(tmp_path / "sound.flac", 1.0)) == video


FIRST_LAST = {
    "1": node("LoadImage", "$param.image", image="a.png"),
    "2": node("LoadImage", "$param.last_image", image="a.png"),
    "3": node("ImageScale", "Scaled", image=["2", 0], width=64, height=64),
    "4": node("FirstLast", "Both", start_image=["1", 0], end_image=["3", 0]),
    "5": node("SaveVideo", "$output.video", video=["4", 0]),
}
SCHEMA = read_schema(
    {
        "ImageScale": {"input": {"required": {"image": ["IMAGE"]}}},
        "FirstLast": {
            "input": {"required": {"start_image": ["IMAGE"]}, "optional": {"end_image": ["IMAGE"]}}
        },
        "SaveVideo": {"input": {"required": {"video": ["VIDEO"]}}},
    }
)


def test_a_last_picture_that_was_not_given_is_left_out() -> None:
    graph = read_graph(json.dumps(FIRST_LAST).encode())
    left = pruned(graph, ["2"], SCHEMA)
    assert set(left) == {"1", "4", "5"}
    assert dict(left["4"].inputs) == {"start_image": ["1", 0]}


def test_what_is_required_takes_its_node_along() -> None:
    graph = read_graph(json.dumps(FIRST_LAST).encode())
    assert set(pruned(graph, ["1"], SCHEMA)) == {"2", "3"}
    assert set(pruned(graph, ["2"], {})) == {"1"}, "what no server tells of counts as required"
