"""Picture models through diffusers' AutoPipeline."""

from collections.abc import Generator
from inspect import signature
from typing import TYPE_CHECKING, Any

import structlog
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image, DiffusionPipeline
from msgspec.structs import replace

from framegate.core.backend import FrameStream, GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.checkpoints import fetch, local_folder
from framegate.plugins.diffusers.embedding_cache import remember_prompts
from framegate.plugins.diffusers.engine import Engine
from framegate.plugins.diffusers.image_io import frame_of, open_picture
from framegate.plugins.diffusers.loading import Loaded, dtypes_of, load_pipeline, sizes_of
from framegate.plugins.diffusers.memory import oom_as_job_error
from framegate.plugins.diffusers.partial_images import Unfinished, has_looks
from framegate.plugins.diffusers.placement import GIB, place
from framegate.plugins.diffusers.steps import StepProgress
from framegate.plugins.diffusers.tiling import tile_when_needed

if TYPE_CHECKING:
    from framegate.core.backend import Frame

HEADROOM = 6 * GIB
"""Activations of a picture of four million pixels, decoding included."""
log = structlog.get_logger(__name__)

_AUTO: dict[Task, type[Any]] = {
    Task.TEXT_TO_IMAGE: AutoPipelineForText2Image,
    Task.IMAGE_TO_IMAGE: AutoPipelineForImage2Image,
}


class ImagesEngine(Engine):
    """One set of weights behind the text-to-image and the image-to-image pipeline of its family."""

    _loaded: Loaded
    _pipelines: dict[Task, Any]
    _placed: Any = None
    _made: "Generator[Frame, None, None] | None" = None

    def load(self) -> None:
        self._loaded = load_pipeline(
            DiffusionPipeline,
            fetch(self.source, self.options),
            self.options,
            self.device,
            dtypes=dtypes_of(self.options, self.device, {}),
            headroom=HEADROOM,
            cancel_points=self.cancel_points,
        )
        self._placed = self._loaded.pipeline
        tile_when_needed(self._loaded.pipeline.vae, self.options.vae_tiling, self.device)
        self._pipelines = _pipelines_of(self._loaded.pipeline)
        for pipeline in self._pipelines.values():
            pipeline.set_progress_bar_config(disable=True)
            remember_prompts(pipeline, self.prompts)
        log.info("model_recognised", pipelines=[type(each).__name__ for each in self._pipelines.values()])
        if Task.TEXT_TO_IMAGE in self._pipelines:
            self.warm_up(Task.TEXT_TO_IMAGE)

    def memory_needed(self) -> int:
        folder = local_folder(self.source)
        if folder is None:
            return 0
        return sum(sizes_of(folder, self.options, dtypes_of(self.options, self.device, {})).values())

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        if self._made is not None:
            self._made.close()  # of a job that was left between two pictures
        self._made = self._pictures(shot, context)
        return FrameStream(self._made)

    def close(self) -> None:
        super().close()
        self._pipelines = {}
        self._placed = None
        vars(self).pop("_loaded", None)

    def after_job(self) -> None:
        self._placed.maybe_free_model_hooks()

    def _pictures(self, shot: Shot, context: GenerationContext) -> "Generator[Frame, None, None]":
        """One after the other, each of the seed that follows, so that any of them can be made again alone."""
        with self.job(context):
            pipeline = self._pipeline_for(shot.task)
            progress = StepProgress(context, shot.num_inference_steps, passes=shot.num_frames)
            progress.say("encoding the prompt")
            arguments = _arguments(pipeline, shot)
            if shot.task == Task.IMAGE_TO_IMAGE:
                arguments["image"] = open_picture(context.image, shot.width, shot.height)
            for number in range(shot.num_frames):
                generator = self.generator(replace(shot, seed=shot.seed + number))
                # A look does not say which picture it is at, so all are at the first.
                watched = number == 0 and context.num_partial_images > 0 and has_looks(pipeline)
                unfinished = Unfinished(pipeline, shot, context) if watched else None
                following = _following(pipeline, progress, unfinished)
                with oom_as_job_error("making a picture of", self.device, shot):
                    yield self._picture(pipeline, shot, arguments | following, generator)
                progress.next_pass()

    def _picture(
        self,
        pipeline: Any,
        shot: Shot,
        arguments: dict[str, Any],
        generator: torch.Generator,
    ) -> "Frame":
        pixels = pipeline(
            prompt=shot.prompt,
            num_inference_steps=shot.num_inference_steps,
            generator=generator,
            output_type="np",
            **arguments,
        ).images[0]
        return frame_of(pixels, shot.width, shot.height)

    def _pipeline_for(self, task: Task) -> Any:
        pipeline = self._pipelines.get(task)
        if pipeline is None:
            able = " and ".join(sorted(self._pipelines))
            raise GenerationFailed(f"The weights that this model was given are for {able}, not for {task}.")
        if pipeline is not self._placed and self._loaded.placement.offload == "model":
            self._placed.remove_all_hooks()
            place(pipeline, self._loaded.placement, self.device)
        self._placed = pipeline
        return pipeline


def _pipelines_of(loaded: Any) -> dict[Task, Any]:
    """What AutoPipeline knows to do with the components of ``loaded``.

    Raises:
        GenerationFailed: nothing.
    """
    pipelines: dict[Task, Any] = {}
    for task, auto in _AUTO.items():
        try:
            pipelines[task] = auto.from_pipe(loaded)
        except ValueError:  # this family has no such pipeline
            continue
    if not pipelines:
        raise GenerationFailed(
            f"{type(loaded).__name__} is no pipeline that makes pictures of text or pictures."
        )
    return pipelines


def _arguments(pipeline: Any, shot: Shot) -> dict[str, Any]:
    """Of the values of ``shot`` those that this pipeline takes, by the names that it has for them."""
    takes = signature(pipeline.__call__).parameters
    arguments: dict[str, Any] = {"width": shot.width, "height": shot.height}
    if shot.strength is not None:
        # At least one step is made, however little is to be changed.
        arguments["strength"] = max(shot.strength, (1 + 1e-6) / shot.num_inference_steps)
    if "true_cfg_scale" in takes and not _knows_guidance(pipeline):
        # Guided by a second forward pass, which a negative prompt switches on; it can't be empty.
        arguments["true_cfg_scale"] = shot.guidance_scale
        arguments["negative_prompt"] = shot.negative_prompt or " "
    else:
        arguments["guidance_scale"] = shot.guidance_scale
        arguments["negative_prompt"] = shot.negative_prompt or None
    # FLUX Kontext would choose a size and an area of its own.
    arguments |= {"_auto_resize": False, "max_area": shot.width * shot.height}
    if shot.task == Task.TEXT_TO_IMAGE:
        arguments.pop("strength", None)
    return {name: value for name, value in arguments.items() if name in takes}


def _knows_guidance(pipeline: Any) -> bool:
    """Whether guidance was distilled into the weights, so that it is an input of the transformer."""
    config = getattr(getattr(pipeline, "transformer", None), "config", {})
    return bool(config.get("guidance_embeds"))


def _following(pipeline: Any, progress: StepProgress, unfinished: Unfinished | None) -> dict[str, Any]:
    if "callback_on_step_end" not in signature(pipeline.__call__).parameters:
        return {}  # cancelled within a block all the same
    if unfinished is None:
        return {"callback_on_step_end": progress.callback, "callback_on_step_end_tensor_inputs": []}
    return {
        "callback_on_step_end": unfinished.then(progress.callback),
        "callback_on_step_end_tensor_inputs": ["latents"],
    }
