"""Wan2.1 and Wan2.2 through diffusers."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from diffusers import WanImageToVideoPipeline, WanPipeline, WanVideoToVideoPipeline

from framegate.core.backend import GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot, Task
from framegate.media.images.fitting import open_image
from framegate.plugins.diffusers.embedding_cache import Embeddings
from framegate.plugins.diffusers.engine import effective_strength
from framegate.plugins.diffusers.loading.checkpoints import fetch
from framegate.plugins.diffusers.loading.offloading import onload
from framegate.plugins.diffusers.loading.pipelines import share_components
from framegate.plugins.diffusers.progress import StepProgress
from framegate.plugins.diffusers.step_cache.schedules import Levels
from framegate.plugins.diffusers.task_pipelines import TaskPipelines
from framegate.plugins.diffusers.video_engine import Latents, VideoEngine
from framegate.plugins.diffusers.video_io import read_source_video
from framegate.plugins.diffusers.wan.cache_levels import cache_levels
from framegate.plugins.diffusers.wan.conditions import cached_conditions
from framegate.plugins.diffusers.wan.decoding import decode_streamed, decode_tiled, denormalize
from framegate.plugins.diffusers.wan.options import WanOptions
from framegate.plugins.diffusers.wan.schedules import DISTILLED_SHIFT, DistilledScheduler
from framegate.plugins.diffusers.wan.variants import Variant, variant_of

if TYPE_CHECKING:
    from framegate.core.backend import Frame

TEXT_TOKENS = 512
"""What the transformers assume; with fewer they would silently ignore the image."""
REMIX_STRENGTH = 0.8
"""The default strength of video-to-video."""

_SWITCHES = ("boundary_ratio", "expand_timesteps")
_PIPELINES: dict[Task, type[Any]] = {
    Task.TEXT_TO_VIDEO: WanPipeline,
    Task.IMAGE_TO_VIDEO: WanImageToVideoPipeline,
    Task.VIDEO_TO_VIDEO: WanVideoToVideoPipeline,
}


class WanEngine(VideoEngine):
    """One set of weights behind every pipeline that can use it."""

    has_mag_ratios: ClassVar[bool] = True
    variant: Variant
    """Which of the Wan models the folder holds."""
    _pipelines: TaskPipelines

    def load(self) -> None:
        """Load the source, whichever Wan model it is."""
        folder = fetch(self.source, self.options)
        self.variant = variant_of(folder)
        main = Task.IMAGE_TO_VIDEO if Task.IMAGE_TO_VIDEO in self.variant.tasks else Task.TEXT_TO_VIDEO
        pipeline = self.load_pipeline(_PIPELINES[main], folder)
        switches = {name: value for name, value in pipeline.config.items() if name in _SWITCHES}
        others = {
            task: share_components(_PIPELINES[task], pipeline, **switches)
            for task in self.variant.tasks - {main}
        }
        self._pipelines = TaskPipelines({main: pipeline, **others})
        self.warm_up(main)

    def encode_prompts(self, shot: Shot) -> dict[str, torch.Tensor]:
        """Return the embeddings of the prompt and, with guidance, of the negative prompt."""
        pipeline = self._pipelines.select(shot.task)
        prompts = {"prompt_embeds": self._encode(pipeline, shot.prompt, negative=False)}
        if shot.guidance_scale > 1.0:
            prompts["negative_prompt_embeds"] = self._encode(pipeline, shot.negative_prompt, negative=True)
        return prompts

    def _encode(self, pipeline: Any, text: str, *, negative: bool) -> torch.Tensor:
        def encode() -> Embeddings:
            return (
                pipeline.encode_prompt(
                    text, do_classifier_free_guidance=False, max_sequence_length=TEXT_TOKENS
                )[0],
            )

        with torch.no_grad():
            (embedding,) = self.embeddings.get(text, encode, keep=negative)
        return embedding.to(self.device)

    def denoise(
        self, shot: Shot, context: GenerationContext, progress: StepProgress, prompts: dict[str, torch.Tensor]
    ) -> Latents:
        """Return the video's latents, still normalised."""
        pipeline = self._pipelines.select(shot.task)
        pipeline.scheduler = self._scheduler(pipeline.scheduler, shot)
        inputs = self._inputs(shot, context)
        from_image = shot.task == Task.IMAGE_TO_VIDEO
        with cached_conditions(pipeline, self.embeddings, shot, context) if from_image else nullcontext():
            return self.run_pipeline(
                pipeline,
                shot,
                progress,
                generator=self.generator(shot.seed),
                guidance_scale=shot.guidance_scale,
                max_sequence_length=TEXT_TOKENS,
                **prompts,
                **inputs,
            )

    def _inputs(self, shot: Shot, context: GenerationContext) -> dict[str, Any]:
        """Return what the task's pipeline takes in addition to what all take."""
        if shot.task == Task.VIDEO_TO_VIDEO:
            strength = REMIX_STRENGTH if shot.strength is None else shot.strength
            return {
                "video": read_source_video(context.video, shot.width, shot.height, shot.num_frames, shot.fps),
                "strength": effective_strength(strength, shot.num_inference_steps),
            }
        inputs: dict[str, Any] = {"num_frames": shot.num_frames, **self._second_guidance(shot)}
        if shot.task == Task.IMAGE_TO_VIDEO:
            inputs["image"] = open_image(context.image, shot.width, shot.height)
            if self.variant.first_and_last:
                if context.last_image is None:
                    raise GenerationFailed(
                        "These weights need a first and a last image; the job has no last one."
                    )
                inputs["last_image"] = open_image(context.last_image, shot.width, shot.height)
        return inputs

    @property
    def _options(self) -> WanOptions:
        assert isinstance(self.options, WanOptions)
        return self.options

    def _second_guidance(self, shot: Shot) -> dict[str, float]:
        # Without guidance there is no second forward pass to weigh.
        if not self.variant.experts or shot.guidance_scale <= 1.0:
            return {}
        second = self._options.guidance_scale_2
        if second is None and (authors := self.second_guidance()) is not None:
            second = min(authors, shot.guidance_scale)
        return {} if second is None else {"guidance_scale_2": second}

    def second_guidance(self) -> float | None:
        """Return the authors' guidance of the low-noise transformer; None is the request's."""
        return None

    def _scheduler(self, scheduler: Any, shot: Shot) -> Any:
        """Return a fresh scheduler, with nothing left in it of the job before."""
        shift = self._options.flow_shift
        if self._options.schedule == "distilled":
            return DistilledScheduler(shift=DISTILLED_SHIFT if shift is None else shift)
        if shift is None:
            shift = self.flow_shift(shot)
        name = "flow_shift" if "flow_shift" in scheduler.config else "shift"
        changes = {} if shift is None else {name: shift}
        return scheduler.from_config(scheduler.config, **changes)

    def flow_shift(self, shot: Shot) -> float | None:
        """Return the family's flow shift for ``shot``; None keeps the one in the model's folder."""
        return None

    def cache_levels(self, shot: Shot) -> Levels:
        """Return MagCache's levels for the weights, at the size and for the task of ``shot``."""
        return cache_levels(self.variant, self.pipeline.transformer.config, shot)

    def decode_frames(self, latents: Latents) -> "Iterator[Frame]":
        """Yield frames as they are decoded: one, then four at a time."""
        vae = self.pipeline.vae
        onload(vae)
        ready = denormalize(vae, latents[0].to(self.device))

        return self.tiling.frames(
            self.memory.decoding(ready.shape),
            lambda: decode_streamed(vae, ready),
            lambda: decode_tiled(vae, ready),
        )
