"""Between OpenAI's images API and the core. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from framegate.core.errors import InvalidRequest
from framegate.core.ports import MediaSource
from framegate.core.registry import ServedModel
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.server.dialects.openai.images.schemas import (
    EditFields,
    PictureFields,
    PromptFields,
    VariationFields,
)
from framegate.server.errors.field_errors import FieldError, shortened

VARIATION = "A variation of this picture"
"""What a model is told where OpenAI's API takes no prompt."""

PARAMS: Mapping[str, str] = {"num_outputs": "n", "width": "size", "height": "size"}
"""What the core complains of, in the words of this API."""

_SIZE = re.compile(r"([1-9]\d{1,4})x([1-9]\d{1,4})", re.ASCII)


def rules(values: Mapping[str, Any]) -> Iterable[FieldError]:
    """What a field's own type can't say."""
    size = values.get("size")
    if size not in (None, "auto") and not _SIZE.fullmatch(size):
        message = 'Input should be "auto", or pixels such as "1024x1024"'
        yield FieldError(("size",), "value_error", message, shortened(size))
    steps = values.get("steps"), values.get("num_inference_steps")
    if None not in steps and steps[0] != steps[1]:
        yield FieldError(("steps",), "value_error", "This is num_inference_steps; give one of them", steps[0])
    compression = values.get("output_compression")
    if compression not in (None, 100) and values.get("output_format") in (None, "png"):
        message = "Only jpeg and webp are compressed; PNG loses nothing"
        yield FieldError(("output_compression",), "value_error", message, compression)


def generation(served: ServedModel, fields: PictureFields) -> GenerationRequest[MediaSource]:
    """The pictures that are asked for; their media are not in it yet.

    Raises:
        InvalidRequest: the model makes no pictures.
    """
    if not served.makes(MediaKind.IMAGE):
        raise InvalidRequest(f"The model {served.name} is not an image model.", param="model")
    sides = _SIZE.fullmatch(fields.size or "")
    width, height = (int(sides[1]), int(sides[2])) if sides else (None, None)
    from_picture = isinstance(fields, EditFields | VariationFields)
    return GenerationRequest(
        model=served.name,
        task=Task.IMAGE_TO_IMAGE if from_picture else Task.TEXT_TO_IMAGE,
        prompt=fields.prompt if isinstance(fields, PromptFields) else VARIATION,
        negative_prompt=fields.negative_prompt or "",
        width=width,
        height=height,
        num_inference_steps=fields.num_inference_steps or fields.steps,
        guidance_scale=fields.guidance_scale,
        strength=fields.strength if isinstance(fields, EditFields | VariationFields) else None,
        seed=fields.seed,
        num_outputs=fields.n or 1,
        num_partial_images=(fields.partial_images or 0)
        if isinstance(fields, PromptFields) and fields.stream
        else 0,
    )
