"""The vocabulary that dialects, service, workers and backends share. Names are those of diffusers."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Generic

from msgspec import Struct, field
from typing_extensions import TypeVar


class Task(StrEnum):
    TEXT_TO_IMAGE = "text-to-image"
    IMAGE_TO_IMAGE = "image-to-image"
    TEXT_TO_VIDEO = "text-to-video"
    IMAGE_TO_VIDEO = "image-to-video"
    VIDEO_TO_VIDEO = "video-to-video"

    @property
    def output(self) -> "MediaKind":
        return MediaKind.IMAGE if self.value.endswith("image") else MediaKind.VIDEO


class MediaKind(StrEnum):
    IMAGE = "image"
    VIDEO = "video"


class MediaRef(Struct, frozen=True, omit_defaults=True):
    """An input file that was fetched, checked and stored.

    ``key`` is its place in the artifact store; sizes are pixels of the upright picture;
    ``num_frames`` and ``fps`` are set for videos.
    """

    kind: MediaKind
    key: str
    width: int
    height: int
    num_frames: int = 1
    fps: float = 0.0

    @property
    def duration(self) -> float:
        """Seconds; 0 for pictures."""
        return self.num_frames / self.fps if self.fps else 0.0


class StoryboardShot(Struct, frozen=True):
    """One shot of a storyboard: what it shows, for how many seconds."""

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
"""The fields of a `GenerationRequest` that hold media."""

Media = TypeVar("Media", default=MediaRef)


class GenerationRequest(Struct, Generic[Media], frozen=True, omit_defaults=True):
    """What is to be made. ``None`` means: not asked for, the model's default holds.

    ``width`` and ``height`` are pixels, ``duration`` seconds (``num_frames`` wins over it),
    ``strength`` 0–1 how far image-to-image and video-to-video may leave their source.
    ``num_fragments`` makes a video in that many pieces, each going on from the last frame of the one
    before; its length stays the same. A ``storyboard`` says it all for a video of several shots, made one
    after the other, each going on from the last frame of the one before; ``prompt`` is then its whole text,
    and ``duration``, ``num_frames`` and ``num_fragments`` don't count. With ``extends_video`` the result is
    ``video``, followed by what the request asks for, which goes on from its last frame.

    ``max_pixels``, where no size is asked for: the one of the input's ratio that fills so many. A ``mask`` as
    large as ``image`` is white where that is to be made anew; black parts stay as they are.
    ``num_partial_images``: at most that many pictures of the unfinished work are wanted.
    """

    model: str
    task: Task
    prompt: str
    negative_prompt: str = ""
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


class Shot(Struct, frozen=True, omit_defaults=True):
    """One call of a backend: every value is decided and within the model's limits.

    Pictures are ``height``×``width``; a video has exactly ``num_frames`` of them at ``fps``, for images
    ``num_frames`` is how many pictures are wanted (``fps`` is 0). ``continues`` says that the
    conditioning image is the last frame of the shot before, or of the video that is extended. Where
    ``prompt`` holds more than the user's own words (a style's), those are in ``caption``. Of the frames made,
    the first ``drop_first`` (they repeat that frame) and all beyond ``keep_frames`` more are left out of the
    file.
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
        """The user's part of the prompt, to be shown to people."""
        return self.caption or self.prompt

    @property
    def frames_kept(self) -> int:
        made = self.num_frames - self.drop_first
        return made if self.keep_frames is None else min(made, self.keep_frames)


class Variant(StrEnum):
    """A picture of a result video, made when somebody asks for it; the value ends its key."""

    THUMBNAIL = "thumbnail.webp"
    SPRITESHEET = "spritesheet.jpg"


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
        return f"{self.key}.{variant}"

    @property
    def files(self) -> tuple[str, ...]:
        """The keys of all files that there may be of it."""
        if self.kind == MediaKind.IMAGE:
            return (self.key,)
        return (self.key, *(self.variant_key(variant) for variant in Variant))


class Progress(Struct, frozen=True, omit_defaults=True):
    """``fraction`` is 0.0–1.0 over the whole job; ``message`` a short phrase for people."""

    fraction: float = 0.0
    message: str = ""
