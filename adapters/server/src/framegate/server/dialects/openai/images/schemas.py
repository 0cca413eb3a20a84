"""The bodies of OpenAI's images API, with fields of Framegate's own such as ``seed``.

In every body, ``model`` and ``size`` fall back to the default if None.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from framegate.server.dialects.openai.fields import Seed, Steps

Format: TypeAlias = Literal["png", "jpeg", "webp"]
Quality: TypeAlias = Literal["low", "medium", "high", "xhigh", "max", "auto", "standard", "hd"]


class ImageFields(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields that all three calls share."""

    model: str | None = None
    n: Annotated[int, Meta(ge=1, le=10, description="The number of images")] | None = None
    size: Annotated[str, Meta(description="WIDTHxHEIGHT or auto")] | None = None
    response_format: Literal["b64_json", "url"] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    seed: Seed | None = None
    negative_prompt: Annotated[str, Meta(description="What to avoid")] | None = None
    num_inference_steps: Steps | None = None
    steps: Annotated[int, Meta(ge=1, le=1000, description="The same as num_inference_steps")] | None = None
    guidance_scale: Annotated[float, Meta(ge=0, le=100)] | None = None
    output_format: Format | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100, description="Quality of jpeg and webp")] | None = (
        None
    )


class PromptFields(ImageFields, kw_only=True):
    """The fields that calls with a prompt share; ``quality``, ``moderation`` and the like have no effect."""

    prompt: Annotated[str, Meta(min_length=1, pattern=r"\S", description="What to show")]
    background: Literal["opaque", "auto"] | None = None
    quality: Quality | None = None
    moderation: Literal["low", "auto"] | None = None
    stream: bool | None = None
    partial_images: (
        Annotated[int, Meta(ge=0, le=3, description="The number of partial images to send")] | None
    ) = None


class GenerateFields(PromptFields, kw_only=True):
    """The body of a call for images from a prompt."""

    style: Literal["vivid", "natural"] | None = None


class EditFields(PromptFields, kw_only=True):
    """The form of a call for images from images."""

    input_fidelity: Literal["high", "low"] | None = None
    strength: (
        Annotated[float, Meta(ge=0, le=1, description="How far the result may depart from the image")] | None
    ) = None


class VariationFields(ImageFields, kw_only=True):
    """The form of a call for images from an image alone."""

    strength: (
        Annotated[float, Meta(ge=0, le=1, description="How far the result may depart from the image")] | None
    ) = None


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
    """

    created: int
    data: list[Image]
    background: Literal["opaque"] = "opaque"
    output_format: Format
    size: str
    seed: int
    usage: Usage = Usage()


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
