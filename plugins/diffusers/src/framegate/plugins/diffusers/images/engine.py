"""Image models through diffusers' AutoPipeline."""

from collections.abc import Generator
from inspect import signature
from typing import TYPE_CHECKING, Any

import structlog
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image, DiffusionPipeline

from framegate.core.backend import FrameStream, GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot, Task
from framegate.media.images.fitting import open_image
from framegate.plugins.diffusers.engine import Engine, effective_strength
from framegate.plugins.diffusers.images.partial_images import PartialImages, supports_partial_images
from framegate.plugins.diffusers.images.prompt_caching import cache_prompts
from framegate.plugins.diffusers.loading.checkpoints import fetch
from framegate.plugins.diffusers.memory import oom_as_job_error
from framegate.plugins.diffusers.pixels import to_frame
from framegate.plugins.diffusers.progress import StepCallback, StepProgress
from framegate.plugins.diffusers.task_pipelines import TaskPipelines
from framegate.plugins.diffusers.tiling import tile_when_needed

if TYPE_CHECKING:
    from framegate.core.backend import Frame

log = structlog.get_logger(__name__)

_AUTO: dict[Task, type[Any]] = {
    Task.TEXT_TO_IMAGE: AutoPipelineForText2Image,
    Task.IMAGE_TO_IMAGE: AutoPipelineForImage2Image,
}


class ImagesEngine(Engine):
    """One set of weights behind the text-to-image and the image-to-image pipeline of its family."""

    _pipelines: TaskPipelines

    def load(self) -> None:
        """Load the source as whichever pipeline it names."""
        loaded = self.load_pipeline(DiffusionPipeline, fetch(self.source, self.options))
        tile_when_needed(loaded.vae, self.tiling, lambda latents: self.memory.decoding(latents.shape))
        pipelines = _auto_pipelines(loaded)
        for pipeline in pipelines.values():
            pipeline.set_progress_bar_config(disable=True)
            cache_prompts(pipeline, self.embeddings)
        self._pipelines = TaskPipelines(pipelines)
        log.info("model_recognised", pipelines=[type(each).__name__ for each in pipelines.values()])
        if Task.TEXT_TO_IMAGE in pipelines:
            self.warm_up(Task.TEXT_TO_IMAGE)

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        """Return ``shot.num_frames`` images; each has the seed after the one before it.

        So any of them can be generated again alone.
        """
        return FrameStream(self.stream(shot, context, self._images(shot, context)))

    def _images(self, shot: Shot, context: GenerationContext) -> "Generator[Frame, None, None]":
        pipeline = self._pipelines.select(shot.task)
        progress = StepProgress(context, shot.num_inference_steps, passes=shot.num_frames)
        progress.report("encoding the prompt")
        arguments = _arguments(pipeline, shot)
        if shot.task == Task.IMAGE_TO_IMAGE:
            arguments["image"] = open_image(context.image, shot.width, shot.height)
        for number in range(shot.num_frames):
            # A partial image doesn't say which image it belongs to, so only the first has them.
            watched = number == 0 and context.num_partial_images > 0 and supports_partial_images(pipeline)
            partial_images = PartialImages(pipeline, shot, context) if watched else None
            callbacks = _callbacks(pipeline, self.step_cache.before(progress.on_step_end), partial_images)
            with oom_as_job_error("making an image of", self.device, shot):
                image = self._image(pipeline, shot, arguments | callbacks, self.generator(shot.seed + number))
            yield image
            progress.next_pass()

    def _image(
        self, pipeline: Any, shot: Shot, arguments: dict[str, Any], generator: torch.Generator
    ) -> "Frame":
        with self.step_cache.enabled(pipeline, self.cache_levels(shot)):
            pixels = pipeline(
                prompt=shot.prompt,
                num_inference_steps=shot.num_inference_steps,
                generator=generator,
                output_type="np",
                **arguments,
            ).images[0]
        return to_frame(pixels, shot.width, shot.height)


def _auto_pipelines(loaded: Any) -> dict[Task, Any]:
    """Create the pipelines that AutoPipeline has for the components of ``loaded``."""
    pipelines: dict[Task, Any] = {}
    for task, auto in _AUTO.items():
        try:
            pipelines[task] = auto.from_pipe(loaded)
        except ValueError:  # this family has no such pipeline
            continue
    if not pipelines:
        raise GenerationFailed(
            f"{type(loaded).__name__} makes no images; the source has to be a model for text-to-image or "
            "image-to-image."
        )
    return pipelines


def _arguments(pipeline: Any, shot: Shot) -> dict[str, Any]:
    """Return those values of ``shot`` that this pipeline takes, by its names for them."""
    accepted = signature(pipeline.__call__).parameters
    arguments: dict[str, Any] = {"width": shot.width, "height": shot.height}
    if shot.strength is not None and shot.task != Task.TEXT_TO_IMAGE:
        arguments["strength"] = effective_strength(shot.strength, shot.num_inference_steps)
    if "true_cfg_scale" in accepted and not _has_distilled_guidance(pipeline):
        # Guided by a second forward pass, which a negative prompt switches on; it can't be empty.
        arguments["true_cfg_scale"] = shot.guidance_scale
        arguments["negative_prompt"] = shot.negative_prompt or " "
    else:
        arguments["guidance_scale"] = guidance_for(pipeline, shot.guidance_scale)
        arguments["negative_prompt"] = shot.negative_prompt or None
    # FLUX Kontext would choose a size and an area of its own.
    arguments |= {"_auto_resize": False, "max_area": shot.width * shot.height}
    return {name: value for name, value in arguments.items() if name in accepted}


def guidance_for(pipeline: Any, scale: float) -> float:
    """Return ``scale`` as ``pipeline`` takes it: 1 is no guidance, for which some (Z-Image) want 0."""
    if scale > 1.0:
        return scale
    pipeline._guidance_scale = scale
    return 0.0 if getattr(pipeline, "do_classifier_free_guidance", False) else scale


def _has_distilled_guidance(pipeline: Any) -> bool:
    """Return whether guidance was distilled into the weights, and so is an input of the transformer."""
    config = getattr(getattr(pipeline, "transformer", None), "config", {})
    return bool(config.get("guidance_embeds"))


def _callbacks(
    pipeline: Any, on_step_end: StepCallback, partial_images: PartialImages | None
) -> dict[str, Any]:
    if "callback_on_step_end" not in signature(pipeline.__call__).parameters:
        return {}  # the cancel points within blocks still work
    if partial_images is None:
        return {"callback_on_step_end": on_step_end, "callback_on_step_end_tensor_inputs": []}
    return {
        "callback_on_step_end": partial_images.before(on_step_end),
        "callback_on_step_end_tensor_inputs": ["latents"],
    }
