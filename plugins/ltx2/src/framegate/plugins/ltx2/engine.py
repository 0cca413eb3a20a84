"""LTX-2 through diffusers."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from diffusers import LTX2ConditionPipeline, LTX2Pipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from diffusers.pipelines.ltx2.utils import (
    DISTILLED_SIGMA_VALUES,
    STAGE_2_DISTILLED_SIGMA_VALUES,
    resolve_default_image_crf,
)
from msgspec.structs import replace

from framegate.core.backend import Audio, GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot, Task
from framegate.media.images.fitting import open_image
from framegate.plugins.diffusers.loading.checkpoints import fetch
from framegate.plugins.diffusers.loading.loras import use_adapters
from framegate.plugins.diffusers.loading.offloading import onload
from framegate.plugins.diffusers.loading.pipelines import share_components
from framegate.plugins.diffusers.progress import StepProgress
from framegate.plugins.diffusers.video_engine import Latents, VideoEngine
from framegate.plugins.ltx2.backend import Ltx2Options
from framegate.plugins.ltx2.decoding import decode_audio, decode_tiled, decode_whole
from framegate.plugins.ltx2.guidance import OFF, guidance, settle_perturbation
from framegate.plugins.ltx2.prompts import PrecomputedEmbeddings, drop_masks, encode_prompt
from framegate.plugins.ltx2.upsampling import load_upsampler

if TYPE_CHECKING:
    from framegate.core.backend import Frame

_REFINE = "refine"
"""The name of the second stage's LoRA."""


class Ltx2Engine(VideoEngine):
    """One set of weights behind the pipeline for text and the one for images."""

    _embeddings: PrecomputedEmbeddings
    _from_text: Any
    _from_images: Any
    _upsampler: Any = None
    _scheduler: Any
    _crf: int
    """How far images are compressed before they are encoded, as those were that the model learnt from."""

    def load(self) -> None:
        """Load the source, and with two stages the upsampler and the LoRA of the second one.

        Raises:
            GenerationFailed: Options don't fit together, or a part is missing.
            OutOfMemory: The device has no room.
        """
        options = self._options
        _check_options(options)
        if self.device.type == "mps":
            raise GenerationFailed(
                "LTX-2 places its tokens in double precision, which Apple's GPUs lack; its jobs need a "
                "worker on CUDA or on the CPU."
            )

        if options.refine_lora is not None:
            self.switched_loras = {_REFINE: options.refine_lora}
        pipeline = self.load_pipeline(LTX2Pipeline, fetch(self.source, options))
        dtype = self.loaded.dtype
        self._scheduler = pipeline.scheduler
        self._crf = resolve_default_image_crf(pipeline.text_encoder)
        settle_perturbation(pipeline.transformer)
        if pipeline.connectors.config.video_connector_num_learnable_registers:
            drop_masks(pipeline.transformer)
        self._embeddings = PrecomputedEmbeddings(self.device, dtype)
        # Both are given embeddings; the text encoder and the connectors stay with the loaded pipeline.
        encoded = {"text_encoder": None, "tokenizer": None, "connectors": self._embeddings}
        self._from_text = share_components(LTX2Pipeline, pipeline, **encoded)
        self._from_images = share_components(LTX2ConditionPipeline, pipeline, **encoded)
        self.passes = options.stages
        if options.stages == 2:
            self._upsampler = load_upsampler(self.source, options, pipeline.vae, dtype)
            self._upsampler.latent_upsampler.to(self.device)
        self.warm_up(Task.TEXT_TO_VIDEO)
        self.warm_up(Task.IMAGE_TO_VIDEO)

    @property
    def _options(self) -> Ltx2Options:
        assert isinstance(self.options, Ltx2Options)
        return self.options

    def encode_prompts(self, shot: Shot) -> dict[str, torch.Tensor]:
        """Return embeddings and masks of the prompt and, with guidance, of the negative prompt."""
        prompts = self._encode("", shot.prompt)
        if shot.guidance_scale > 1.0:
            prompts |= self._encode("negative_", shot.negative_prompt)
        return prompts

    def _encode(self, prefix: str, text: str) -> dict[str, torch.Tensor]:
        video, audio = self.embeddings.get(
            text, lambda: encode_prompt(self.pipeline, text), keep=bool(prefix)
        )
        joined = self._embeddings.join(video, audio).to(self.device)
        mask = torch.ones(joined.shape[:2], dtype=torch.int64, device=self.device)
        return {f"{prefix}prompt_embeds": joined, f"{prefix}prompt_attention_mask": mask}

    def denoise(
        self, shot: Shot, context: GenerationContext, progress: StepProgress, prompts: dict[str, torch.Tensor]
    ) -> Latents:
        """Return the latents of the video and of its audio."""
        generator = self.generator(shot.seed)
        if self._upsampler is None:
            return self._first_stage(shot, context, progress, prompts, generator)
        half = replace(shot, width=shot.width // 2, height=shot.height // 2)
        video, audio = self._first_stage(half, context, progress, prompts, generator)
        (larger,) = self._upsampler(
            latents=video,
            width=half.width,
            height=half.height,
            num_frames=half.num_frames,
            output_type="latent",
            return_dict=False,
        )
        progress.next_pass()
        with self._refine_lora():
            return self._distilled(
                STAGE_2_DISTILLED_SIGMA_VALUES,
                shot,
                context,
                progress,
                generator,
                latents=larger,
                audio_latents=audio,
                noise_scale=STAGE_2_DISTILLED_SIGMA_VALUES[0],
                prompt_embeds=prompts["prompt_embeds"],
                prompt_attention_mask=prompts["prompt_attention_mask"],
            )

    def _first_stage(
        self,
        shot: Shot,
        context: GenerationContext,
        progress: StepProgress,
        prompts: dict[str, torch.Tensor],
        generator: torch.Generator,
    ) -> Latents:
        if self._options.schedule == "distilled":
            return self._distilled(DISTILLED_SIGMA_VALUES, shot, context, progress, generator, **prompts)
        guided = guidance(shot.guidance_scale, self.pipeline.transformer)
        return self._run(shot, context, progress, generator, {}, **prompts, **guided)

    def _distilled(
        self,
        sigmas: list[float],
        shot: Shot,
        context: GenerationContext,
        progress: StepProgress,
        generator: torch.Generator,
        **arguments: Any,
    ) -> Latents:
        """Denoise over the noise levels that the distilled weights have learnt; nothing may shift them."""
        unshifted = {"use_dynamic_shifting": False, "shift_terminal": None}
        shot = replace(shot, num_inference_steps=len(sigmas))
        return self._run(shot, context, progress, generator, unshifted, sigmas=sigmas, **OFF, **arguments)

    def _run(
        self,
        shot: Shot,
        context: GenerationContext,
        progress: StepProgress,
        generator: torch.Generator,
        schedule: dict[str, Any],
        **arguments: Any,
    ) -> Latents:
        conditions = self._conditions(shot, context)
        pipeline = self._from_images if conditions else self._from_text
        if conditions:
            arguments["conditions"] = conditions
        pipeline.scheduler = type(self._scheduler).from_config(self._scheduler.config, **schedule)
        return self.run_pipeline(
            pipeline,
            shot,
            progress,
            generator=generator,
            num_frames=shot.num_frames,
            frame_rate=shot.fps,
            **arguments,
        )

    def _conditions(self, shot: Shot, context: GenerationContext) -> list[LTX2VideoCondition]:
        """Open the images that the video begins and ends with."""
        images: list[tuple[int, Any]] = []
        if shot.task == Task.IMAGE_TO_VIDEO:
            images.append((0, open_image(context.image, shot.width, shot.height)))
        if context.last_image is not None:
            images.append((-1, open_image(context.last_image, shot.width, shot.height)))
        return [LTX2VideoCondition(frames=image, index=index, crf=self._crf) for index, image in images]

    @contextmanager
    def _refine_lora(self) -> Generator[None]:
        """Enable the second stage's LoRA, if it has one."""
        lora = self._options.refine_lora
        if lora is None:
            yield
            return
        model = getattr(self.pipeline, lora.component)
        always = self.loaded.adapters.get(lora.component, {})
        use_adapters(model, {**always, _REFINE: lora.strength})
        try:
            yield
        finally:
            use_adapters(model, always)

    def decode_audio(self, latents: Latents) -> Audio:
        """Return the audio of ``latents``."""
        return decode_audio(self.pipeline.audio_vae, self.pipeline.vocoder, latents[1])

    def decode_frames(self, latents: Latents) -> "Iterator[Frame]":
        """Yield the frames of ``latents``, once all are decoded unless it is done in tiles."""
        vae, video = self.pipeline.vae, latents[0]
        onload(vae)  # what it takes the place of is not free before
        return self.tiling.frames(
            self.memory.decoding(video.shape),
            lambda: decode_whole(vae, video),
            lambda: decode_tiled(vae, video),
        )


def _check_options(options: Ltx2Options) -> None:
    if options.stages == 2 and options.schedule == "full" and options.refine_lora is None:
        raise GenerationFailed(
            "options.refine_lora: the second stage of weights that are not distilled needs the distillation "
            "LoRA."
        )
