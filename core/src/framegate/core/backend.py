"""What a backend plugin implements, and what it is handed while it works."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from msgspec import Struct

from framegate.core.types import MediaKind, Shot

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Frame: TypeAlias = NDArray[np.uint8]
    """One picture: uint8, height × width × 3, RGB."""
    Samples: TypeAlias = NDArray[np.float32]
    """Audio: float32 in -1…1, channels × samples."""


class Audio(Struct, frozen=True):
    samples: "Samples"
    sample_rate: int


class FrameStream(Struct, frozen=True):
    """Frames as they come; they are encoded while the next ones are made.

    Exactly ``shot.num_frames`` frames for a video, one per picture for images. ``audio``, if given, is
    filled in by the backend before the iterator ends: the encoder asks for it after the last frame.
    """

    frames: "Iterator[Frame]"
    audio: "AudioSource | None" = None


class FinishedFile(Struct, frozen=True):
    """A file in ``context.workdir`` that the backend made itself (a ComfyUI graph's result, say). An MP4 that
    is the only shot of its job is served as it is."""

    path: Path
    kind: MediaKind


class AudioSource(Protocol):
    def __call__(self) -> Audio | None: ...


Output: TypeAlias = FrameStream | Sequence[FinishedFile]


class GenerationContext(Protocol):
    """A running job, seen from its backend."""

    @property
    def workdir(self) -> Path:
        """A private folder for this shot, removed when the job ends."""
        ...

    @property
    def image(self) -> Path | None:
        """The conditioning picture (PNG or JPEG, RGB, upright), of any size."""
        ...

    @property
    def last_image(self) -> Path | None:
        """The picture that the video should end with."""
        ...

    @property
    def video(self) -> Path | None:
        """The source of video-to-video."""
        ...

    @property
    def num_partial_images(self) -> int:
        """How many looks at the unfinished picture somebody wants, spread over its making; `show` gives
        them."""
        ...

    def report(self, step: int, total: int, message: str = "") -> None:
        """Say that ``step`` of ``total`` is done. Also a point at which a cancelled job is left.

        Raises:
            JobCancelled: the job was cancelled, or another worker has taken it.
        """
        ...

    def report_partial_image(self, render: "Callable[[], Frame]") -> None:
        """Give a look at an unfinished picture. It is made only as long as looks are wanted.

        Raises:
            JobCancelled: as for `report`.
        """
        ...

    def check_cancelled(self) -> None:
        """Leave a cancelled job; call it wherever stopping is cheap.

        Raises:
            JobCancelled: as for `report`.
        """
        ...


class Backend(ABC):
    """Runs one model on one device. Made in a worker process; used by one thread, one job at a time.

    ``source`` is a folder or hub id (empty where the model needs none); ``options`` are the model's
    ``options`` from the config. Heavy imports (torch, diffusers, …) belong into `load`.
    """

    def __init__(self, source: str = "", options: Mapping[str, Any] | None = None) -> None:
        self.source = source
        self.options = dict(options or {})

    def load(self, device: str) -> None:
        """Make the model ready on ``device`` ("cpu", "cuda:0", …).

        Raises:
            GenerationFailed: with what is missing and what to do about it.
            OutOfMemory: with what would fit.
        """
        return

    def memory_needed(self, device: str) -> int:
        """Bytes of ``device``'s memory that the model will hold once loaded, as far as can be told before
        `load`; 0 where it can't, or is next to nothing. By it, models make room for each other."""
        return 0

    @abstractmethod
    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        """Make what ``shot`` describes.

        Raises:
            JobCancelled: passed through from the context.
            OutOfMemory: the job fails with this message; the worker goes on.
            GenerationError: the job fails with this message.
        """

    def unload(self) -> None:
        """Free the device's memory. `load` may be called again."""
        return
