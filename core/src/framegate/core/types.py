"""The vocabulary that dialects, services, workers and backends share. Names are those of diffusers."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Generic

from msgspec import Struct, field
from typing_extensions import TypeVar


class Task(StrEnum):
    """What a model makes from what."""

    TEXT_TO_IMAGE = "text-to-image"
    IMAGE_TO_IMAGE = "image-to-image"
    TEXT_TO_VIDEO = "text-to-video"
    IMAGE_TO_VIDEO = "image-to-video"
    VIDEO_TO_VIDEO = "video-to-video"

    @property
    def output(self) -> "MediaKind":
        """What the task makes."""
        return MediaKind.IMAGE if self.value.endswith("image") else MediaKind.VIDEO


class MediaKind(StrEnum):
    """Images or videos."""

    IMAGE = "image"
    VIDEO = "video"


class MediaRef(Struct, frozen=True, omit_defaults=True):
    """An input file that was fetched, checked and stored.

    ``key`` is its place in the artifact store; ``width`` and ``height`` are pixels of the upright image;
    ``num_frames`` and ``fps`` are set for videos. ``size`` is its bytes, 0 if an earlier version stored it.
    """

    kind: MediaKind
    key: str
    width: int
    height: int
    num_frames: int = 1
    fps: float = 0.0
    size: int = 0

    @property
    def duration(self) -> float:
        """Seconds; 0 for images."""
        return self.num_frames / self.fps if self.fps else 0.0


class StoryboardShot(Struct, frozen=True):
    """One shot of a storyboard: what it shows, and for how many seconds."""

    prompt: str
    duration: float


MEDIA_KINDS: Mapping[str, MediaKind] = MappingProxyType(
    {
        "image": MediaKind.IMAGE,
        "mask": MediaKind.IMAGE,
        "last_image": MediaKind.IMAGE,
        "video": MediaKind.VIDEO,
    }
)
"""The fields of a `GenerationRequest` that hold media; a mask follows its image."""

Media = TypeVar("Media", default=MediaRef)


class GenerationRequest(Struct, Generic[Media], frozen=True, omit_defaults=True):
    """What to generate. None means that the request leaves a value to the model.

    Dialects build it with media as clients give them (`GenerationRequest[MediaSource]`); once these are
    stored it holds references to them (`GenerationRequest[MediaRef]`, or just `GenerationRequest`).

    Attributes:
        model: A name of the registry.
        task: What to make from what.
        prompt: What to show.
        negative_prompt: What not to show; an empty one is kept.
        width: Pixels.
        height: Pixels.
        max_pixels: Where neither side is given: choose the size with the input's aspect ratio that fills at
            most this many.
        num_frames: The video's length in frames.
        duration: The video's length in seconds, where ``num_frames`` is not given.
        fps: Frames per second.
        num_inference_steps: Denoising steps.
        guidance_scale: How strongly the prompt guides.
        strength: 0–1, how far image-to-image and video-to-video may depart from their source.
        seed: Of the random numbers; drawn if not given.
        style: The name of a style.
        num_outputs: How many images to make.
        num_fragments: Make the video in this many pieces, each continuing from the last frame of the previous
            one. Its length stays the same.
        storyboard: The shots of a video, each continuing from the last frame of the previous one. ``prompt``
            is then the whole text, and ``duration``, ``num_frames`` and ``num_fragments`` are ignored.
        num_partial_images: How many partial images the client wants to see, at most.
        image: The image to start from.
        mask: Of ``image``: white where that is to be repainted, black where it stays. Clients may give it in
            any size, and transparent instead of white.
        last_image: The image to end with.
        video: The video to start from.
        extends_video: Make a continuation of ``video``; the result is ``video`` followed by it.
    """

    model: str
    task: Task
    prompt: str
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    max_pixels: int | None = None
    num_frames: int | None = None
    duration: float | None = None
    fps: float | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    strength: float | None = None
    seed: int | None = None
    style: str | None = None
    num_outputs: int = 1
    num_fragments: int = 1
    storyboard: tuple[StoryboardShot, ...] = ()
    num_partial_images: int = field(default=0, name="num_looks")
    image: Media | None = None
    mask: Media | None = None
    last_image: Media | None = None
    video: Media | None = None
    extends_video: bool = False

    @property
    def media(self) -> dict[str, Media]:
        """The media that are given, by field."""
        return {name: media for name in MEDIA_KINDS if (media := getattr(self, name)) is not None}

    def without_media(self) -> "GenerationRequest":
        """Return the request with no media, to be filled with stored ones."""
        values = {name: getattr(self, name) for name in self.__struct_fields__ if name not in MEDIA_KINDS}
        return GenerationRequest(**values)

    @property
    def length_param(self) -> str:
        """The field that says how long the video is."""
        if self.storyboard:
            return "prompt"
        return "duration" if self.num_frames is None else "num_frames"


class ShotSize(Struct, frozen=True):
    """How large a shot is: the pixels of a frame, and how many frames."""

    width: int
    height: int
    num_frames: int = 1

    def __str__(self) -> str:
        return f"{self.width}×{self.height}" + (f"×{self.num_frames}" if self.num_frames > 1 else "")


class Shot(Struct, frozen=True, omit_defaults=True):
    """One call of a backend: every value is decided and within the model's limits.

    Attributes:
        task: What to make from what.
        prompt: The prompt for the model, including the style's text.
        width: Pixels of every frame.
        height: Pixels of every frame.
        num_frames: How many frames the backend makes: of a video, or one for each image.
        fps: Frames per second; 0 for images.
        seed: Of the random numbers.
        num_inference_steps: Denoising steps.
        guidance_scale: How strongly the prompt guides.
        negative_prompt: What not to show.
        strength: 0–1, how far the result may depart from its source.
        style: The name of the style, if any.
        caption: The user's own part of the prompt, where ``prompt`` holds more.
        continues: The conditioning image is the last frame of the previous shot, or of the video that is
            extended.
        drop_first: How many of the first frames are left out of the file, because they repeat that frame.
        keep_frames: How many frames are kept after those; None for all.
    """

    task: Task
    prompt: str
    width: int
    height: int
    num_frames: int
    fps: float
    seed: int
    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str = ""
    strength: float | None = None
    style: str | None = None
    caption: str = ""
    continues: bool = False
    drop_first: int = 0
    keep_frames: int | None = None

    @property
    def own_words(self) -> str:
        """The user's own part of the prompt, as it is shown to people."""
        return self.caption or self.prompt

    @property
    def frames_kept(self) -> int:
        """How many of its frames are in the file."""
        made = self.num_frames - self.drop_first
        return made if self.keep_frames is None else min(made, self.keep_frames)


class Variant(StrEnum):
    """An image made from a result on first use: a small one, of a video's frames, or in another format.

    Its value ends its key.
    """

    THUMBNAIL = "thumbnail.webp"
    SPRITESHEET = "spritesheet.jpg"
    PNG = "image.png"
    JPEG = "image.jpg"
    WEBP = "image.webp"


_VARIANTS: Mapping[MediaKind, tuple[Variant, ...]] = {
    MediaKind.VIDEO: (Variant.THUMBNAIL, Variant.SPRITESHEET),
    MediaKind.IMAGE: (Variant.THUMBNAIL, Variant.PNG, Variant.JPEG, Variant.WEBP),
}


class Artifact(Struct, frozen=True, omit_defaults=True):
    """A result file. ``key`` is its place in the artifact store, ``size`` its bytes, ``duration`` seconds."""

    kind: MediaKind
    key: str
    content_type: str
    size: int
    width: int
    height: int
    num_frames: int = 1
    fps: float = 0.0
    duration: float = 0.0

    def variant_key(self, variant: Variant) -> str:
        """Return the key of one of the result's variants."""
        return f"{self.key}.{variant}"

    @property
    def files(self) -> tuple[str, ...]:
        """The keys of all files that may be stored for it."""
        return (self.key, *map(self.variant_key, _VARIANTS[self.kind]))
