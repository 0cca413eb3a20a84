"""What the type of a submission can't express: fields that conflict, and what its model can't do."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from framegate.core.admission import MAX_PROMPT
from framegate.core.errors import ModelNotFound
from framegate.core.registry import Registry, ServedModel
from framegate.core.types import MEDIA_KINDS, MediaKind, Task
from framegate.server.dialects.framegate.sizes import parse_aspect, parse_resolution
from framegate.server.errors.field_errors import FieldError, shortened

_REFUSED = ("audio", "loras", "postprocess")
"""Fields that no model honours yet."""
_IMAGE_FIELDS = frozenset({"image", "last_image", "mask"})


class SubmissionRules:
    """Find everything that is wrong with a submission, as far as that can be told without its inputs."""

    def __init__(self, registry: Registry, styles: Collection[str], *, model: str) -> None:
        self._registry = registry
        self._styles = styles
        self._model = model

    def for_uploads(self, uploads: Collection[str]) -> Callable[[Mapping[str, Any]], Iterator[FieldError]]:
        """Return the rules for a submission that has files of these names beside its values."""
        return lambda values: self._errors(values, {*uploads, *_given(values)} & MEDIA_KINDS.keys())

    def _errors(self, values: Mapping[str, Any], media: Collection[str]) -> Iterator[FieldError]:
        yield from _prompt_errors(values, media)
        yield from _size_errors(values)
        yield from _input_errors(values, media)
        if None not in (values.get("num_frames"), values.get("duration")):
            yield _wrong(values, "duration", "This conflicts with num_frames; give only one of them")
        style = values.get("style")
        if style and style not in self._styles:
            yield _wrong(values, "style", f"There is no such style; available: {', '.join(self._styles)}")
        try:
            served = self._registry.resolve(values.get("model") or self._model)
        except ModelNotFound as error:
            yield _wrong(values, "model", error.message.rstrip("."))
        else:
            yield from _model_errors(served, values, media)


def _given(values: Mapping[str, Any]) -> Iterator[str]:
    return (name for name, value in values.items() if value is not None)


def _wrong(values: Mapping[str, Any], name: str, message: str) -> FieldError:
    return FieldError((name,), "value_error", message, shortened(values.get(name)))


def _prompt_errors(values: Mapping[str, Any], media: Collection[str]) -> Iterator[FieldError]:
    prompt, shots = values.get("prompt") or "", values.get("storyboard") or ()
    if not prompt.strip() and not shots and not media:
        yield _wrong(values, "prompt", "This field is required; describe what to show")
    if shots and len(prompt) * len(shots) > MAX_PROMPT:
        message = (
            f"It applies to each of {len(shots)} shots; together they may have {MAX_PROMPT:,} characters"
        )
        yield _wrong(values, "prompt", message)


def _size_errors(values: Mapping[str, Any]) -> Iterator[FieldError]:
    for name, parse in (("aspect", parse_aspect), ("resolution", parse_resolution)):
        if (text := values.get(name)) is None:
            continue
        sides = [side for side in ("width", "height") if values.get(side) is not None]
        if sides:
            message = f"This conflicts with {' and '.join(sides)}; give a size or {name}, not both"
            yield _wrong(values, name, message)
            continue
        try:
            parse(text)
        except ValueError as error:
            yield _wrong(values, name, str(error))


def _input_errors(values: Mapping[str, Any], media: Collection[str]) -> Iterator[FieldError]:
    has_video = "video" in media or values.get("remix_of")
    if "video" in media and values.get("remix_of"):
        yield _wrong(values, "remix_of", "This conflicts with video; give only one of them")
    if values.get("extend") and not has_video:
        yield _wrong(values, "extend", "There is nothing to continue; give video or remix_of")
    if "mask" in media and "image" not in media:
        yield _wrong(values, "mask", "A mask needs the image that it belongs to; give image")
    if has_video and (conflicts := _IMAGE_FIELDS.intersection(media)):
        name = min(conflicts)
        yield _wrong(values, name, "A job starts from an image or from a video; give only one of them")
    match values.get("task"):
        case Task.TEXT_TO_IMAGE | Task.TEXT_TO_VIDEO if media or has_video:
            yield _wrong(values, "task", "It starts from nothing but text; leave the inputs out")
        case Task.IMAGE_TO_IMAGE if "image" not in media:
            yield _wrong(values, "task", "It needs an image to start from; give image")
        case Task.IMAGE_TO_VIDEO if "image" not in media and not values.get("extend"):
            yield _wrong(values, "task", "It needs an image to start from; give image")
        case Task.VIDEO_TO_VIDEO if not has_video:
            yield _wrong(values, "task", "It needs a video to start from; give video")
        case _:
            pass


def _model_errors(
    served: ServedModel, values: Mapping[str, Any], media: Collection[str]
) -> Iterator[FieldError]:
    unsupported = f"The model {served.name} has no such parameter; leave it out"
    for name in _REFUSED:
        if values.get(name) or name in media:
            yield _wrong(values, name, unsupported)
    for name in ("strength", "last_image"):
        if (name in media or values.get(name) is not None) and name not in served.spec.parameters:
            yield _wrong(values, name, unsupported)
    task = values.get("task")
    if task is not None and task not in served.spec.tasks:
        message = f"The model {served.name} can't do it; it can do {', '.join(sorted(served.spec.tasks))}"
        yield _wrong(values, "task", message)
    if values.get("storyboard") and not served.makes(MediaKind.VIDEO):
        yield _wrong(values, "storyboard", f"A storyboard makes a video, and {served.name} makes images")
