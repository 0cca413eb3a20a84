"""The bodies of lightx2v's submissions, in JSON and in forms.

The fields of the document and of the real server are one type for each medium. Those that only the real
server has are UNSET where they are omitted: that one is present tells whose client it is
(`vocabulary.has_server_fields`). Those that no served model can honour are accepted with the default that
clients send, and refused otherwise (`refusals`).
"""

from typing import Annotated, Any, TypeAlias, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

from framegate.server.dialects.lightx2v.result_names import MAX_REQUESTED
from framegate.server.requests.media import MEDIA

Value = TypeVar("Value")

ServerOnly: TypeAlias = Value | UnsetType | None
"""A field that only the real server has."""

Side: TypeAlias = Annotated[int, Meta(ge=32, le=4096)]
Steps: TypeAlias = Annotated[
    int,
    Meta(
        ge=-(2**63),
        le=2**63 - 1,
        description="Denoising steps, fitted to the model's range; by default its own",
    ),
]
Seed: TypeAlias = Annotated[int, Meta(description="Random if omitted; taken modulo 2^63")]
Fragments: TypeAlias = Annotated[
    int, Meta(ge=1, le=64, description="Fragments, each continuing from the previous one's last frame")
]
Frames: TypeAlias = Annotated[
    int, Meta(ge=1, le=7200, description="Length in frames; overrides video_duration")
]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=600, description="Length in seconds; about 5 by default")]
Rate: TypeAlias = Annotated[int, Meta(ge=1, le=120, description="Frames per second of the file")]
Image: TypeAlias = Annotated[
    str,
    Meta(description="http(s) URL, base64, data URI, or a file below the server's input folder"),
    MEDIA,
]
Shape: TypeAlias = Annotated[list[Side], Meta(max_length=2, description="[height, width]")]
Ratio: TypeAlias = Annotated[str, Meta(max_length=32, description="Such as 16:9, or auto")]
ResultPath: TypeAlias = Annotated[
    str,
    Meta(
        max_length=MAX_REQUESTED,
        description="The result's name in the output folder; only the last part counts of a path outside it",
    ),
]
LastFrame: TypeAlias = Annotated[str, Meta(description="The image to end with, given as image_path"), MEDIA]
Mask: TypeAlias = Annotated[
    str, Meta(description="The part of image_path to redraw, white or transparent"), MEDIA
]
UploadUrl: TypeAlias = Annotated[
    str, Meta(max_length=8192, description="Where the sync route uploads its image by PUT")
]
Video: TypeAlias = Annotated[str, Meta(description="A source video, given as image_path"), MEDIA]


class CommonFields(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields that videos and images share."""

    prompt: Annotated[
        str, Meta(max_length=100_000, description="What to show; may be empty with an image or a video")
    ] = ""
    negative_prompt: Annotated[str, Meta(max_length=100_000)] | None = None
    image_path: Image | None = ""
    infer_steps: Steps | None = None
    seed: Seed | None = None
    height: Side | None = None
    width: Side | None = None

    task_id: ServerOnly[Annotated[str, Meta(max_length=128)]] = UNSET
    target_shape: ServerOnly[Shape] = UNSET
    aspect_ratio: ServerOnly[Ratio] = UNSET
    save_result_path: ServerOnly[ResultPath] = UNSET
    last_frame_path: ServerOnly[LastFrame] = UNSET
    image_mask_path: ServerOnly[Mask] = UNSET
    i2i_denoise_strength: ServerOnly[Annotated[float, Meta(ge=0, le=1)]] = UNSET
    presigned_url: ServerOnly[UploadUrl] = UNSET

    use_prompt_enhancer: ServerOnly[bool] = UNSET
    reuse: ServerOnly[bool] = UNSET
    lora_name: ServerOnly[str] = UNSET
    lora_strength: ServerOnly[float] = UNSET
    data_bootstrap_room: ServerOnly[int] = UNSET
    disagg_phase1_receiver_engine_rank: ServerOnly[int] = UNSET
    disagg_bootstrap_room: ServerOnly[int] = UNSET
    disagg_decoder_bootstrap_room: ServerOnly[int] = UNSET


class VideoFields(CommonFields, forbid_unknown_fields=True, kw_only=True):
    """The body of a video."""

    num_fragments: Fragments = 1
    video_duration: Seconds | None = None

    target_video_length: ServerOnly[Frames] = UNSET
    target_fps: ServerOnly[Rate] = UNSET
    video_path: ServerOnly[Video] = UNSET

    sr_ratio: ServerOnly[float] = UNSET
    audio_path: ServerOnly[str] = UNSET
    talk_objects: ServerOnly[Any] = UNSET
    resize_mode: ServerOnly[str] = UNSET


class ImageFields(CommonFields, forbid_unknown_fields=True, kw_only=True):
    """The body of an image."""


class VideoForm(VideoFields, forbid_unknown_fields=True, kw_only=True):
    """The text fields of a form for a video."""


class ImageForm(ImageFields, forbid_unknown_fields=True, kw_only=True):
    """The text fields of a form for an image."""
