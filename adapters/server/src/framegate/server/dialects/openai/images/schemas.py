"""The bodies of OpenAI's images API, with fields of Framegate's own such as ``seed``.

In every body, ``model`` and ``size`` fall back to the default if None.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType

from framegate.server.dialects.openai.extras import ExtraFields
from framegate.server.dialects.openai.fields import Seed, Steps
from framegate.server.requests.media import MEDIA

Format: TypeAlias = Literal["png", "jpeg", "webp"]
FORMATS: Mapping[str, Format] = {"png": "png", "jpeg": "jpeg", "webp": "webp"}
Quality: TypeAlias = Literal["low", "medium", "high", "xhigh", "max", "auto", "standard", "hd"]

Strength: TypeAlias = Annotated[
    float, Meta(ge=0, le=1, description="How far the result may depart from the image")
]
SameStrength: TypeAlias = Annotated[float, Meta(ge=0, le=1, description="The same as strength, for LightX2V")]


class ImageFields(ExtraFields, forbid_unknown_fields=True, kw_only=True):
    """The fields that all three calls share.

    Those that only `rules` use are refused if they are given, because they would change the result.
    """

    model: str | None = None
    n: Annotated[int, Meta(ge=1, le=10, description="The number of images")] | None = None
    size: Annotated[str, Meta(description="WIDTHxHEIGHT or auto")] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    seed: Seed | None = None
    negative_prompt: Annotated[str, Meta(max_length=100_000, description="What to avoid")] | None = None
    num_inference_steps: Steps | None = None
    steps: Annotated[int, Meta(ge=1, le=1000, description="The same as num_inference_steps")] | None = None
    guidance_scale: Annotated[float, Meta(ge=0, le=100)] | None = None
    output_format: Literal["png", "jpeg", "webp", "gif", "svg"] | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100, description="Quality of jpeg and webp")] | None = (
        None
    )


class PromptFields(ImageFields, kw_only=True):
    """The fields that calls with a prompt share; ``quality``, ``moderation`` and the like have no effect."""

    prompt: Annotated[str, Meta(min_length=1, max_length=100_000, pattern=r"\S", description="What to show")]
    background: Literal["opaque", "auto", "transparent"] | None = None
    quality: Quality | None = None
    complexity: Literal["low", "medium", "high"] | None = None
    moderation: Literal["low", "auto"] | None = None
    style: Literal["vivid", "natural"] | None = None
    input_fidelity: Literal["high", "low"] | None = None
    prompt_cache_key: str | None = None
    stream: bool | None = None
    partial_images: (
        Annotated[int, Meta(ge=0, le=3, description="The number of partial images to send")] | None
    ) = None
    frame_count: Any = None
    frame_duration_ms: Any = None
    svg: Any = None


class GenerateFields(PromptFields, kw_only=True):
    """The body of a call for images from a prompt."""


class EditFields(PromptFields, kw_only=True):
    """The form of a call for images from images."""

    strength: Strength | None = None
    i2i_denoise_strength: SameStrength | None = None


class ImageReference(Struct, forbid_unknown_fields=True):
    """An image in a JSON body."""

    image_url: (
        Annotated[str, Meta(min_length=1, description="An http(s) URL or a data URI"), MEDIA] | None
    ) = None
    file_id: str | None = None


class EditReferences(EditFields, kw_only=True):
    """The JSON body of a call for images from images."""

    images: Annotated[list[ImageReference], Meta(min_length=1, max_length=16)]
    mask: ImageReference | None = None
    markup: Any = None


class VariationFields(ImageFields, kw_only=True):
    """The form of a call for images from an image alone."""

    strength: Strength | None = None
    i2i_denoise_strength: SameStrength | None = None


class InputTokens(Struct, frozen=True):
    """The kinds of input tokens."""

    image_tokens: int = 0
    text_tokens: int = 0


class Usage(Struct, frozen=True):
    """Token counts; nothing is counted in tokens here."""

    input_tokens: int = 0
    input_tokens_details: InputTokens = InputTokens()
    output_tokens: int = 0
    total_tokens: int = 0


class Image(Struct, omit_defaults=True):
    """An image, as base64 or as a link."""

    b64_json: str | None = None
    url: str | None = None


class Images(Struct, kw_only=True):
    """The finished images.

    ``size`` is their real size, ``seed`` that of the first; each further image has the next seed.
    ``metadata`` is there if the client gave any.
    """

    created: int
    data: list[Image]
    background: Literal["opaque"] = "opaque"
    output_format: Format
    size: str
    seed: int
    usage: Usage = Usage()
    metadata: dict[str, str] | UnsetType = UNSET


class PartialEvent(Struct, kw_only=True):
    """A partial image."""

    type: Literal["image_generation.partial_image", "image_edit.partial_image"]
    b64_json: str
    partial_image_index: int
    background: Literal["opaque"] = "opaque"
    created_at: int
    output_format: Format
    quality: Quality
    size: str


class CompletedEvent(Struct, kw_only=True):
    """A finished image."""

    type: Literal["image_generation.completed", "image_edit.completed"]
    b64_json: str
    background: Literal["opaque"] = "opaque"
    created_at: int
    output_format: Format
    quality: Quality
    size: str
    seed: int
    usage: Usage = Usage()
