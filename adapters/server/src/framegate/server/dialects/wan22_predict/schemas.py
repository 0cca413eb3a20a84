"""The bodies of wan22-predict."""

from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct

from framegate.server.requests.media import MEDIA

Side: TypeAlias = Annotated[int, Meta(ge=32, le=2048, description="Pixels; rounded down to a multiple of 32")]


class PredictRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The body of the call."""

    prompt: Annotated[str, Meta(min_length=1, max_length=100_000, pattern=r"\S", description="What to show")]
    negative_prompt: Annotated[str, Meta(max_length=100_000, description="What to avoid")] | None = None
    height: Side = 704
    width: Side = 1280
    num_frames: Annotated[int, Meta(ge=25, le=121, description="Frames, 4n+1: 25, 29, 33, …, 121")] = 121
    num_inference_steps: Annotated[int, Meta(ge=1, le=100, description="Denoising steps")] = 50
    guidance_scale: Annotated[float, Meta(ge=1, le=20, description="Classifier-free guidance")] = 5.0
    fps: Annotated[int, Meta(ge=1, le=60, description="Frame rate of the file")] = 24
    seed: (
        Annotated[int, Meta(ge=0, le=2**63 - 1, description="Random if null; the response reports it")] | None
    ) = None
    image_url: (
        Annotated[str, Meta(description="An http(s) URL; makes the task image-to-video. Blank: none")] | None
    ) = None
    image_base64: (
        Annotated[str, Meta(description="Base64 or a data URI, instead of image_url. Blank: none"), MEDIA]
        | None
    ) = None


class Details(Struct, kw_only=True):
    """The settings that the video was made with."""

    prompt: str
    negative_prompt: str
    height: int
    width: int
    num_frames: int
    num_inference_steps: int
    guidance_scale: float
    fps: float | int
    seed: int


class Prediction(Struct):
    """The answer; ``video_base64`` is an MP4."""

    video_base64: str
    details: Details


class ErrorItem(Struct):
    """One wrong field."""

    field: str
    type: str
    message: str
    input: Any = None


class ErrorBody(Struct, omit_defaults=True):
    """The body of every error: a sentence for people, and the fields of the request that are wrong."""

    error: str
    errors: list[ErrorItem] = []
