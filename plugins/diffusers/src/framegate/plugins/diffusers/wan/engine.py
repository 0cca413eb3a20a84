"""Wan2.1 and Wan2.2 through diffusers."""

from collections.abc import Generator, Iterator
from contextlib import nullcontext
from inspect import signature
from itertools import chain
from typing import TYPE_CHECKING, Any

import structlog
import torch
from diffusers import WanImageToVideoPipeline, WanPipeline, WanVideoToVideoPipeline

from framegate.core.backend import FrameStream, GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.caching import StepCache
from framegate.plugins.diffusers.checkpoints import fetch, local_folder
from framegate.plugins.diffusers.engine import Engine
from framegate.plugins.diffusers.image_io import open_picture, open_video
from framegate.plugins.diffusers.loading import Loaded, dtypes_of, load_pipeline, sizes_of
from framegate.plugins.diffusers.memory import is_out_of_memory, oom_as_job_error, release
from framegate.plugins.diffusers.placement import GIB, onload, place
from framegate.plugins.diffusers.prompts import Embeddings
from framegate.plugins.diffusers.steps import StepProgress
from framegate.plugins.diffusers.wan.conditions import remembered
from framegate.plugins.diffusers.wan.decoding import denormalized, streamed, tiled
from framegate.plugins.diffusers.wan.options import WanOptions
from framegate.plugins.diffusers.wan.variants import Variant, variant_of

if TYPE_CHECKING:
    from framegate.core.backend import Frame

TEXT_TOKENS = 512
"""What the transformers assume; with fewer the picture would silently not be seen."""
PRECISE = {"vae": "float32", "image_encoder": "float32"}
HEADROOM = 12 * GIB
"""Activations of the largest documented sizes, decoding included."""
REMIX_STRENGTH = 0.8

_SWITCHES = {"boundary_ratio", "expand_timesteps"}
_CACHED = {Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO}
log = structlog.get_logger(__name__)

_PIPELINES: dict[Task, type[Any]] = {
    Task.TEXT_TO_VIDEO: WanPipeline,
    Task.IMAGE_TO_VIDEO: WanImageToVideoPipeline,
    Task.VIDEO_TO_VIDEO: WanVideoToVideoPipeline,
}


class WanEngine(Engine):
    """One set of weights behind every pipeline that can use it."""

    _loaded: Loaded
    _variant: Variant
    _cache: StepCache
    _pipelines: dict[Task, Any]
    _placed: Any = None
    _made: "Generator[Frame, None, None] | None" = None

    def load(self) -> None:
        folder = fetch(self.source, self.options)
        self._variant = variant_of(folder)
        main = Task.IMAGE_TO_VIDEO if Task.IMAGE_TO_VIDEO in self._variant.tasks else Task.TEXT_TO_VIDEO
        self._loaded = load_pipeline(
            _PIPELINES[main],
            folder,
            self.options,
            self.device,
            dtypes=dtypes_of(self.options, self.device, PRECISE),
            headroom=HEADROOM,
            cancel_points=self.cancel_points,
        )
        self._cache = StepCache(self.options, self._loaded.denoisers)
        self._placed = self._loaded.pipeline
        self._pipelines = {main: self._loaded.pipeline}
        for task in self._variant.tasks - {main}:
            self._pipelines[task] = _another(_PIPELINES[task], self._loaded.pipeline)
        self.warm_up(main)

    def memory_needed(self) -> int:
        folder = local_folder(self.source)
        if folder is None:
            return 0
        sizes = sizes_of(folder, self.options, dtypes_of(self.options, self.device, PRECISE))
        return sum(sizes.values())

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        if self._made is not None:
            self._made.close()  # of a job that was left while its frames were being encoded
        self._made = self._frames(shot, context)
        return FrameStream(self._made)

    def close(self) -> None:
        super().close()
        self._pipelines = {}
        del self._loaded, self._cache, self._placed

    def after_job(self) -> None:
        self._placed.maybe_free_model_hooks()

    def _frames(self, shot: Shot, context: GenerationContext) -> "Generator[Frame, None, None]":
        with self.job(context):
            pipeline = self._pipeline_for(shot.task)
            progress = StepProgress(context, shot.num_inference_steps)
            progress.say("encoding the prompt")
            with oom_as_job_error("encoding the prompt of", self.device, shot):
                prompt = self._embedded(pipeline, shot.prompt, negative=False)
                guided = shot.guidance_scale > 1.0
                against = self._embedded(pipeline, shot.negative_prompt, negative=True) if guided else None
            with oom_as_job_error("denoising", self.device, shot):
                latents = self._denoised(pipeline, shot, context, progress, prompt, against)
            with oom_as_job_error("decoding", self.device, shot):
                yield from self._decoded(latents, shot, progress)

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

    def _embedded(self, pipeline: Any, text: str, *, negative: bool) -> torch.Tensor:
        def encode() -> Embeddings:
            return (
                pipeline.encode_prompt(
                    text, do_classifier_free_guidance=False, max_sequence_length=TEXT_TOKENS
                )[0],
            )

        with torch.no_grad():
            (embedding,) = self.prompts.get(text, encode, keep=negative)
        return embedding.to(self.device)

    def _denoised(
        self,
        pipeline: Any,
        shot: Shot,
        context: GenerationContext,
        progress: StepProgress,
        prompt: torch.Tensor,
        against: torch.Tensor | None,
    ) -> torch.Tensor:
        """The latents, not yet as the decoder wants them."""
        pipeline.scheduler = self._scheduler(pipeline.scheduler, shot)
        arguments = self._inputs(shot, context)

        def step_ended(
            pipeline: Any, index: int, timestep: object, tensors: dict[str, Any]
        ) -> dict[str, Any]:
            self._cache.step_ended(index, pipeline.num_timesteps)
            return progress.callback(pipeline, index, timestep, tensors)

        # diffusers gives video-to-video no place to keep what a step cache remembers.
        cached = self._cache.during(shot.num_inference_steps) if shot.task in _CACHED else nullcontext()
        starts_from_picture = shot.task == Task.IMAGE_TO_VIDEO
        pictures = remembered(pipeline, self.prompts, shot, context) if starts_from_picture else nullcontext()
        with cached, pictures:
            latents: torch.Tensor = pipeline(
                prompt_embeds=prompt,
                negative_prompt_embeds=against,
                height=shot.height,
                width=shot.width,
                num_inference_steps=shot.num_inference_steps,
                guidance_scale=shot.guidance_scale,
                generator=self.generator(shot),
                output_type="latent",
                max_sequence_length=TEXT_TOKENS,
                callback_on_step_end=step_ended,
                callback_on_step_end_tensor_inputs=[],
                **arguments,
            ).frames
        return latents

    def _inputs(self, shot: Shot, context: GenerationContext) -> dict[str, Any]:
        """What each task's pipeline takes beside what all do."""
        if shot.task == Task.TEXT_TO_VIDEO:
            return {"num_frames": shot.num_frames, **self._second_guidance(shot)}
        if shot.task == Task.VIDEO_TO_VIDEO:
            source = open_video(context.video, shot.width, shot.height, shot.num_frames, shot.fps)
            strength = REMIX_STRENGTH if shot.strength is None else shot.strength
            # At least one step is made, however little is to be changed.
            return {"video": source, "strength": max(strength, (1 + 1e-6) / shot.num_inference_steps)}
        inputs: dict[str, Any] = {
            **self._second_guidance(shot),
            "num_frames": shot.num_frames,
            "image": open_picture(context.image, shot.width, shot.height),
        }
        if self._variant.first_and_last:
            if context.last_image is None:
                raise GenerationFailed(
                    "These weights need a first and a last picture; the job has no last one."
                )
            inputs["last_image"] = open_picture(context.last_image, shot.width, shot.height)
        return inputs

    def _second_guidance(self, shot: Shot) -> dict[str, float]:
        assert isinstance(self.options, WanOptions)
        second = self.options.guidance_scale_2
        # Without guidance there is no second forward pass to count_parameters against.
        wanted = self._variant.experts and second is not None and shot.guidance_scale > 1.0
        return {"guidance_scale_2": second} if wanted and second is not None else {}

    def _scheduler(self, scheduler: Any, shot: Shot) -> Any:
        """A fresh one, so that nothing of the job before is left in it."""
        shift = self.options.flow_shift
        if shift is None:
            shift = self.shift_for(shot)
        changed = {} if shift is None else {"flow_shift": shift}
        return scheduler.from_config(scheduler.config, **changed)

    def shift_for(self, shot: Shot) -> float | None:
        """The family's flow shift for a shot; None keeps the one of the folder."""
        return None

    def _decoded(self, latents: torch.Tensor, shot: Shot, progress: StepProgress) -> "Iterator[Frame]":
        vae = self._loaded.pipeline.vae
        onload(vae)
        ready = denormalized(vae, latents.to(self.device))
        frames = self._decoder(vae, ready)
        for number, frame in enumerate(frames, start=1):
            progress.decoded(number, shot.num_frames)
            yield frame

    def _decoder(self, vae: Any, latents: torch.Tensor) -> "Iterator[Frame]":
        if self.options.vae_tiling == "on":
            return tiled(vae, latents)
        frames = streamed(vae, latents)
        if self.options.vae_tiling == "off":
            return frames
        try:
            first = next(frames)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return chain([first], frames)
        release(self.device)
        log.info("decoding_in_tiles", why="there was no memory to decode in one piece")
        return tiled(vae, latents)


def _another(pipeline_class: type[Any], pipeline: Any) -> Any:
    """A pipeline of another class over the same components."""
    wanted = signature(pipeline_class).parameters.keys()
    made = pipeline_class(
        **{name: part for name, part in pipeline.components.items() if name in wanted},
        **{name: value for name, value in pipeline.config.items() if name in wanted & _SWITCHES},
    )
    made.set_progress_bar_config(disable=True)
    return made
