"""What the video families share: encode the prompts, denoise, decode."""

from abc import abstractmethod
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from framegate.core.backend import Audio, FrameStream, GenerationContext
from framegate.core.types import Shot
from framegate.plugins.diffusers.engine import Engine
from framegate.plugins.diffusers.memory import oom_as_job_error
from framegate.plugins.diffusers.progress import StepProgress

if TYPE_CHECKING:
    from framegate.core.backend import Frame

Latents: TypeAlias = tuple[torch.Tensor, ...]
"""What a pipeline returns before decoding: the video's latents, then those of its audio if it has any."""


class VideoEngine(Engine):
    """An engine whose jobs are videos."""

    passes: int = 1
    """How many times a shot is denoised."""

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        """Return the frames of ``shot``, and its audio once the first frame exists."""
        audio: list[Audio] = []
        frames = self.stream(shot, context, self._frames(shot, context, audio))
        return FrameStream(frames, audio=lambda: audio[0] if audio else None)

    @abstractmethod
    def encode_prompts(self, shot: Shot) -> dict[str, torch.Tensor]:
        """Return the shot's prompts as the arguments that pipelines take for them.

        The negative prompt is only encoded where guidance uses it.
        """

    @abstractmethod
    def denoise(
        self, shot: Shot, context: GenerationContext, progress: StepProgress, prompts: dict[str, torch.Tensor]
    ) -> Latents:
        """Return the latents of ``shot``."""

    @abstractmethod
    def decode_frames(self, latents: Latents) -> "Iterator[Frame]":
        """Yield the frames of ``latents``."""

    def decode_audio(self, latents: Latents) -> Audio | None:
        """Return the audio of ``latents``, None where the family makes none."""
        return None

    def run_pipeline(
        self,
        pipeline: Any,
        shot: Shot,
        progress: StepProgress,
        *,
        generator: torch.Generator,
        **arguments: Any,
    ) -> Latents:
        """Call ``pipeline`` for the latents of ``shot``, reporting every step.

        ``arguments`` are those that not every pipeline takes.
        """
        with self.step_cache.enabled(pipeline, self.cache_levels(shot)):
            latents: Latents = pipeline(
                width=shot.width,
                height=shot.height,
                num_inference_steps=shot.num_inference_steps,
                generator=generator,
                output_type="latent",
                return_dict=False,
                callback_on_step_end=self.step_cache.before(progress.on_step_end),
                callback_on_step_end_tensor_inputs=[],
                **arguments,
            )
        return latents

    def _frames(
        self, shot: Shot, context: GenerationContext, audio: list[Audio]
    ) -> "Generator[Frame, None, None]":
        progress = StepProgress(context, shot.num_inference_steps, passes=self.passes)
        progress.report("encoding the prompt")
        with oom_as_job_error("encoding the prompt of", self.device, shot):
            prompts = self.encode_prompts(shot)
        with oom_as_job_error("denoising", self.device, shot):
            latents = self.denoise(shot, context, progress, prompts)
        with oom_as_job_error("decoding", self.device, shot):
            if (track := self.decode_audio(latents)) is not None:
                audio.append(track)
            for number, frame in enumerate(self.decode_frames(latents), start=1):
                progress.report_decoded(number, shot.num_frames)
                yield frame
