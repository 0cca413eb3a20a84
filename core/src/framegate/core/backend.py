"""What a backend plugin implements, and what it is given while it works."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from msgspec import Struct

from framegate.core.types import MediaKind, Shot, ShotSize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Frame: TypeAlias = NDArray[np.uint8]
    """One image: uint8, height × width × 3, RGB."""
    Samples: TypeAlias = NDArray[np.float32]
    """Audio: float32 in -1…1, channels × samples."""


class Audio(Struct, frozen=True):
    """A piece of audio; ``sample_rate`` is in Hz."""

    samples: "Samples"
    sample_rate: int


class FrameStream(Struct, frozen=True):
    """Frames as they are made; each is encoded while the backend makes the next.

    ``frames`` yields exactly ``shot.num_frames`` frames: those of the video, or one for each image.
    ``audio``, if given, is called once, after the last frame.
    """

    frames: "Iterator[Frame]"
    audio: "AudioSource | None" = None


class FinishedFile(Struct, frozen=True):
    """A file in ``context.workdir`` that the backend made itself, for example the result of a ComfyUI graph.

    An MP4 that is the only shot of its job is served unchanged.
    """

    path: Path
    kind: MediaKind


class AudioSource(Protocol):
    """Return the audio of a shot once its frames are made."""

    def __call__(self) -> Audio | None:
        """Return the audio; None for silence."""
        ...


Output: TypeAlias = FrameStream | Sequence[FinishedFile]


class GenerationContext(Protocol):
    """A running job, as its backend sees it."""

    @property
    def workdir(self) -> Path:
        """A private folder for this shot, removed when the job ends."""
        ...

    @property
    def image(self) -> Path | None:
        """The conditioning image (PNG or JPEG, RGB, upright), of any size."""
        ...

    @property
    def last_image(self) -> Path | None:
        """The image that the video should end with."""
        ...

    @property
    def video(self) -> Path | None:
        """The source of video-to-video."""
        ...

    @property
    def num_partial_images(self) -> int:
        """How many partial images the client requested; spread them over the steps."""
        ...

    def report(self, step: int, total: int, message: str = "") -> None:
        """Report that ``step`` of ``total`` is done. A cancelled job is also left here.

        Raises:
            JobCancelled: The job was cancelled, or another worker has taken it over.
        """
        ...

    def report_partial_image(self, render: "Callable[[], Frame]") -> None:
        """Offer a partial image. ``render`` is called only if a client is waiting for one.

        Raises:
            JobCancelled: As for `report`.
        """
        ...

    def check_cancelled(self) -> None:
        """Leave the job if it was cancelled; call this wherever stopping is cheap.

        Raises:
            JobCancelled: As for `report`.
        """
        ...


class MemoryPlan(Struct, frozen=True, kw_only=True):
    """What a model needs of a device's memory, in bytes, and how it would be placed there.

    Attributes:
        size: The shot that is planned for.
        weights: What each component takes as it is kept.
        activations: What a shot of that size takes beside the weights, by the phase of a job ("encode",
            "denoise", "decode", …).
        offload: How weights are placed: "none" if all stay on the device, else in the backend's words.
        phases: What the device holds in each phase: the weights that are there and the activations.
        peak: The most that the device holds at any time, what its driver needs included.
        fits: Whether the device has that much.
        note: What else is worth knowing, such as that decoding is done in tiles.
        largest: The plan for the largest shot that may be asked for, where it isn't the planned one.
    """

    size: ShotSize
    weights: Mapping[str, int]
    activations: Mapping[str, int]
    offload: str
    phases: Mapping[str, int]
    peak: int
    fits: bool
    note: str = ""
    largest: "MemoryPlan | None" = None


def is_path(source: str) -> bool:
    """Return whether a source is written as a path; otherwise it may be a hub id."""
    return source.startswith(("/", "./", "../", "~"))


def missing_paths(paths: Mapping[str, str]) -> list[str]:
    """Return a sentence for each option whose value is written as a path where there is nothing."""
    return [
        f"{option}: there is no {path}"
        for option, path in paths.items()
        if is_path(path) and not Path(path).expanduser().exists()
    ]


class HubDownload(Struct, frozen=True):
    """What a model needs of one repository of the Hugging Face hub.

    Attributes:
        setting: What names the repository, for messages ("source", "loras[0]").
        repository: "OWNER/NAME".
        select: Return which of the repository's files are needed. It is given the names of all of them, and a
            function that returns the content of a small one; it may raise `GenerationFailed`.
        revision: A branch, a tag or a commit; empty for the default branch.
    """

    setting: str
    repository: str
    select: "Callable[[Collection[str], Callable[[str], bytes]], Collection[str]]"
    revision: str = ""


class Backend(ABC):
    """Run one model on one device.

    It is created in a worker process and used by one thread, for one job at a time. ``source`` is a folder or
    hub id (empty where the model needs none); ``options`` are the model's ``options`` from the config. Heavy
    imports (torch, diffusers, …) belong in `load`.
    """

    planned_size: ShotSize | None = None
    """The shot that memory should be planned for, set right after creation; None if it is unknown. Larger
    ones may be asked for."""
    largest_size: ShotSize | None = None
    """The largest shot that may be asked for, set likewise."""

    def __init__(self, source: str = "", options: Mapping[str, Any] | None = None) -> None:
        self.source = source
        self.options = dict(options or {})

    def load(self, device: str) -> None:
        """Load the model onto ``device`` ("cpu", "cuda:0", …).

        Raises:
            GenerationFailed: Something is missing; the message says what to do about it.
            OutOfMemory: The message says what would fit.
        """
        return

    def check_files(self) -> Sequence[str]:
        """Return what this host lacks of the model's files, one sentence each. Nothing is loaded.

        ``framegate doctor`` and workers call it before there is any job. By default, the source is missing if
        it is written as a path and there is nothing.
        """
        return missing_paths({"source": self.source})

    def hub_downloads(self) -> Sequence[HubDownload]:
        """Return which weights `load` would download, none by default. Nothing heavy is imported.

        ``framegate models pull`` downloads exactly that, into the cache that `load` finds it in. Local files
        are not among it.

        Raises:
            ConfigError: An option doesn't exist or has a value that it can't have.
        """
        return ()

    def memory_needed(self, device: str) -> int:
        """Estimate how many bytes of ``device``'s memory the loaded model will hold.

        It is called before `load`, to unload other models that are in the way. Return 0 where the amount is
        unknown or negligible.
        """
        return 0

    def plan_memory(self, capacity: int) -> MemoryPlan | None:
        """Return what the model needs and how it would be placed on a GPU of ``capacity`` bytes.

        ``framegate models --memory`` calls it, on hosts without a GPU too, so it imports nothing heavy and
        loads nothing. By default, None: nothing is known.

        Raises:
            GenerationFailed: The model's files are not on this host, or can't be read.
        """
        return None

    @abstractmethod
    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        """Generate what ``shot`` describes.

        Raises:
            JobCancelled: Passed through from ``context``.
            OutOfMemory: The job fails with this message; the worker carries on.
            GenerationError: The job fails with this message.
        """

    def unload(self) -> None:
        """Free the device's memory. `load` may be called again."""
        return
