"""The media path of a worker: ``python -m tests.benchmarks.media --seconds 5 300``.

Runs jobs of these lengths as a worker does, from the backend's frames to the file in the store, each in a
process of its own, and prints as JSON what each kind of job took: the most memory and the frames a second.
Then it encodes frames by the worker's encoder and, where diffusers is installed, by its ``export_to_video``.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from framegate.core.backend import Audio, Backend, FinishedFile, FrameStream, GenerationContext, Output
from framegate.core.jobs import Job
from framegate.core.types import MediaKind, MediaRef, Shot, Task
from framegate.media.video.encode import VideoEncoder
from framegate.storage.artifacts.folder import FolderStore
from framegate.worker.heartbeat.client import ActiveJob
from framegate.worker.running.job_runner import JobRunner
from tests.support.sample_jobs import make_job

if TYPE_CHECKING:
    from framegate.core.backend import Frame

FPS, RATE, SHOT_SECONDS = 16, 48_000, 5
KINDS = ("one shot", "shots", "shots with audio", "shots as files", "extension of a long video")
_MOVING = 32


class MovingFrames(Backend):
    """Yield a moving pattern, with a tone if ``audio`` is wanted; or encode both itself, as ``files``."""

    def __init__(self, *, audio: bool = False, files: bool = False) -> None:
        super().__init__()
        self._audio = audio
        self._files = files

    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        """Return the shot."""
        frames = moving_frames(shot.width, shot.height, shot.num_frames)
        if not self._files:
            return FrameStream(frames, (lambda: tone(shot.num_frames / shot.fps)) if self._audio else None)
        path = context.workdir / "own.mp4"
        write_video(path, frames, shot.width, shot.height, seconds=shot.num_frames / shot.fps)
        return [FinishedFile(path, MediaKind.VIDEO)]


def moving_frames(width: int, height: int, count: int) -> "Iterator[Frame]":
    """Yield a few frames over and over: making them must not cost what is measured."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    whole = blocks.repeat(16, 0).repeat(16, 1)[:height, :width]
    made = [np.ascontiguousarray(np.roll(whole, (2 * n, 3 * n), (0, 1))) for n in range(_MOVING)]
    return islice(cycle(made), count)


def tone(seconds: float) -> Audio:
    """Return a stereo tone."""
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)
    return Audio(np.stack([wave, wave]).astype(np.float32), RATE)


def write_video(path: Path, frames: "Iterator[Frame]", width: int, height: int, *, seconds: float) -> None:
    """Encode a video with a tone."""
    with VideoEncoder(path, width=width, height=height, fps=FPS) as encoder:
        for frame in frames:
            encoder.write(frame)
        encoder.finish(tone(seconds))


def job_of(kind: str, seconds: int, size: tuple[int, int], store: FolderStore) -> Job:
    """Return a job that makes a video of that length; the source of an extension is written to the store."""
    shot = Shot(Task.TEXT_TO_VIDEO, "a boat", *size, SHOT_SECONDS * FPS, FPS, 1, 4, 5.0)
    job = make_job("job")
    match kind:
        case "one shot":
            return replace(job, shots=(replace(shot, num_frames=seconds * FPS),))
        case "extension of a long video":
            path = store.workdir("source") / "source.mp4"
            _child("--source", str(path), "--seconds", str(seconds), "--size", f"{size[0]}x{size[1]}")
            ref = MediaRef(MediaKind.VIDEO, "inputs/source.mp4", *size, seconds * FPS, FPS)
            store.put(path, ref.key)
            request = replace(job.request, video=ref, extends_video=True)
            return replace(job, shots=(shot,), request=request)
        case _:
            return replace(job, shots=(shot,) * max(1, seconds // SHOT_SECONDS))


def run_job(kind: str, seconds: int, size: tuple[int, int]) -> None:
    """Run a job as a worker does, and print what it took."""
    backend = MovingFrames(audio=kind == "shots with audio", files=kind == "shots as files")
    with tempfile.TemporaryDirectory() as folder:
        store = FolderStore(Path(folder))
        job = job_of(kind, seconds, size, store)
        began = time.monotonic()
        [artifact] = JobRunner(store, threading.Event()).run(ActiveJob(job), backend)
        pace = artifact.num_frames / (time.monotonic() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mib": round(peak, 1), "frames_per_second": round(pace, 1)}))


def encode(size: tuple[int, int], count: int, rounds: int) -> dict[str, float]:
    """Return the frames a second of each way to encode the same frames, the median of interleaved rounds."""
    frames = list(moving_frames(*size, count))
    paces: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            for name, write in encoders().items():
                began = time.monotonic()
                write(Path(folder) / "made.mp4", frames)
                paces.setdefault(name, []).append(count / (time.monotonic() - began))
    return {name: round(statistics.median(each), 1) for name, each in paces.items()}


def encoders() -> "dict[str, Callable[[Path, list[Frame]], None]]":
    """Return the ways to encode frames that this environment has."""

    def ours(path: Path, frames: "list[Frame]") -> None:
        height, width, _ = frames[0].shape
        with VideoEncoder(path, width=width, height=height, fps=FPS) as encoder:
            for frame in frames:
                encoder.write(frame)
            encoder.finish()

    try:
        from diffusers.utils import export_to_video
    except ImportError:
        return {"framegate": ours}

    def theirs(path: Path, frames: "list[Frame]") -> None:
        export_to_video([frame / np.float32(255) for frame in frames], str(path), fps=FPS)

    return {"framegate": ours, "export_to_video": theirs}


def _child(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.benchmarks.media", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, nargs="+", default=[5, 300])
    parser.add_argument("--size", type=_size, default=(640, 384), help="of the jobs, WIDTHxHEIGHT")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--encode-size", type=_size, default=(1280, 704))
    parser.add_argument("--frames", type=int, default=81, help="to encode by each encoder; 0 for none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--run", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    [seconds, *_] = options.seconds
    if options.source:
        width, height = options.size
        frames = moving_frames(width, height, seconds * FPS)
        write_video(options.source, frames, width, height, seconds=seconds)
        return
    if options.run:
        run_job(options.run, seconds, options.size)
        return
    size = "{}x{}".format(*options.size)
    jobs: dict[str, dict[str, object]] = {}
    for kind in options.kinds:
        for length in options.seconds:
            print(f"{kind}, {length} s", file=sys.stderr)
            made = json.loads(_child("--run", kind, "--seconds", str(length), "--size", size))
            jobs.setdefault(kind, {})[str(length)] = made
    encoding = encode(options.encode_size, options.frames, options.rounds) if options.frames else {}
    print(json.dumps({"size": size, "jobs": jobs, "encoding": encoding}, indent=2))


if __name__ == "__main__":
    main()
