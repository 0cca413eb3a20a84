"""Translate between wan22-predict's bodies and the core. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from framegate.core.jobs import Job
from framegate.core.ports import Base64Source, MediaSource
from framegate.core.types import GenerationRequest, Task
from framegate.server.dialects.wan22_predict.schemas import Details, PredictRequest
from framegate.server.errors.field_errors import FieldError, shortened
from framegate.server.requests.media import is_url, media_source


def rules(values: Mapping[str, Any]) -> Iterable[FieldError]:
    """Yield errors that the types can't express, such as conflicting fields."""
    frames = values.get("num_frames")
    if frames is not None and frames % 4 != 1:
        yield FieldError(("num_frames",), "multiple_of", "Input should be 4n+1 (25, 29, 33, …, 121)", frames)
    url, base64 = (_given(values.get(name)) for name in ("image_url", "image_base64"))
    if url and base64:
        yield FieldError(
            ("image_base64",), "value_error", "Give either image_url or image_base64, not both", "…"
        )
        return
    if url and not is_url(url):
        message = "Input should be an http(s) URL; send base64 and data URIs as image_base64"
        yield FieldError(("image_url",), "value_error", message, shortened(url))
    if base64 and is_url(base64):
        message = "Input should be base64 or a data URI; send URLs as image_url"
        yield FieldError(("image_base64",), "value_error", message, shortened(base64))


def generation(model: str, body: PredictRequest) -> GenerationRequest[MediaSource]:
    """Return the request for a body's video."""
    image = _image(body)
    return GenerationRequest(
        model=model,
        task=Task.IMAGE_TO_VIDEO if image else Task.TEXT_TO_VIDEO,
        prompt=body.prompt,
        negative_prompt=body.negative_prompt,
        width=body.width,
        height=body.height,
        num_frames=body.num_frames,
        fps=float(body.fps),
        num_inference_steps=body.num_inference_steps,
        guidance_scale=body.guidance_scale,
        seed=body.seed,
        image=image,
    )


def _image(body: PredictRequest) -> MediaSource | None:
    if url := _given(body.image_url):
        return media_source(url, "image")
    base64 = _given(body.image_base64)
    return Base64Source(base64) if base64 else None


def _given(text: str | None) -> str:
    """Return the text without blanks around it; a blank one counts as omitted."""
    return (text or "").strip()


def details(body: PredictRequest, job: Job) -> Details:
    """Return the settings of the shots that ran, after they were fitted to the model.

    The negative prompt is the client's own: that of a model's defaults is no part of the document.
    """
    shot = job.shots[0]
    return Details(
        prompt=shot.prompt,
        negative_prompt=body.negative_prompt or "",
        height=shot.height,
        width=shot.width,
        num_frames=sum(part.frames_kept for part in job.shots),
        num_inference_steps=shot.num_inference_steps,
        guidance_scale=shot.guidance_scale,
        fps=int(shot.fps) if shot.fps.is_integer() else shot.fps,
        seed=job.seed,
    )
