"""LTX-2 through diffusers."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

import structlog
import torch
from diffusers import LTX2ConditionPipeline, LTX2Pipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from diffusers.pipelines.ltx2.utils import (
    DISTILLED_SIGMA_VALUES,
    STAGE_2_DISTILLED_SIGMA_VALUES,
    resolve_default_image_crf,
)
from msgspec.structs import replace

from framegate.core.backend import Audio, FrameStream, GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.caching import StepCache
from framegate.plugins.diffusers.checkpoints import fetch, local_folder
from framegate.plugins.diffusers.engine import Engine
from framegate.plugins.diffusers.image_io import open_picture
from framegate.plugins.diffusers.loading import Loaded, dtypes_of, load_pipeline, sizes_of
from framegate.plugins.diffusers.loras import load_lora
from framegate.plugins.diffusers.memory import is_out_of_memory, oom_as_job_error, release
from framegate.plugins.diffusers.placement import GIB
from framegate.plugins.diffusers.steps import StepProgress
from framegate.plugins.ltx2.backend import Ltx2Options
from framegate.plugins.ltx2.decoding import sound_of, tiled, whole
from framegate.plugins.ltx2.guidance import OFF, guidance
from framegate.plugins.ltx2.prompts import Connected, connected, drop_masks
from framegate.plugins.ltx2.upsampling import load_upsampler

if TYPE_CHECKING:
    from framegate.core.backend import Frame

HEADROOM = 16 * GIB
"""Activations of the largest documented sizes, decoding included."""
log = structlog.get_logger(__name__)


class Ltx2Engine(Engine):
    """One set of weights behind the pipeline for text and the one for pictures."""

    _loaded: Loaded
    _cache: StepCache
    _connected: Connected
    _from_text: Any
    _from_pictures: Any
    _upsampler: Any = None
    _scheduler: Any
    _crf: int
    """How far pictures are compressed before they are encoded, as those were that the model learnt from."""
    _made: "Generator[Frame, None, None] | None" = None

    def load(self) -> None:
        options = self._own
        if options.cache not in ("none", "taylorseer"):
            raise GenerationFailed(
                f"options.cache: LTX-2 can't use {options.cache!r}; it can use 'taylorseer'."
            )
        if options.stages == 2 and options.schedule == "full" and options.refine_lora is None:
            raise GenerationFailed(
                "options.refine_lora: the second stage of weights that are not distilled needs the "
                "distillation LoRA."
            )
        folder = fetch(self.source, options)
        loaded = load_pipeline(
            LTX2Pipeline,
            folder,
            options,
            self.device,
            dtypes=dtypes_of(options, self.device, {}),
            headroom=HEADROOM,
            cancel_points=self.cancel_points,
        )
        self._loaded, pipeline = loaded, loaded.pipeline
        self._cache = StepCache(options, loaded.denoisers)
        self._scheduler = pipeline.scheduler
        self._crf = resolve_default_image_crf(pipeline.text_encoder)
        if pipeline.connectors.config.video_connector_num_learnable_registers:
            drop_masks(pipeline.transformer)
        self._connected = Connected(self.device, loaded.dtype)
        self._from_text = _without_text_encoder(LTX2Pipeline, pipeline, self._connected)
        self._from_pictures = _without_text_encoder(LTX2ConditionPipeline, pipeline, self._connected)
        if options.stages == 2:
            self._upsampler = load_upsampler(self.source, options, pipeline.vae, loaded.dtype)
            self._upsampler.latent_upsampler.to(self.device)
        if options.refine_lora is not None:
            load_lora(pipeline, options.refine_lora, "refine", options)
            pipeline.set_adapters("refine", options.refine_lora.strength)
            pipeline.disable_lora()
        self.warm_up(Task.TEXT_TO_VIDEO)
        self.warm_up(Task.IMAGE_TO_VIDEO)

    def memory_needed(self) -> int:
        folder = local_folder(self.source)
        if folder is None:
            return 0
        return sum(sizes_of(folder, self.options, dtypes_of(self.options, self.device, {})).values())

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        if self._made is not None:
            self._made.close()  # of a job that was left while its frames were being encoded
        sounds: list[Audio] = []
        self._made = self._frames(shot, context, sounds)
        return FrameStream(self._made, audio=lambda: sounds[0] if sounds else None)

    def close(self) -> None:
        super().close()
        for name in ("_loaded", "_cache", "_connected", "_from_text", "_from_pictures", "_upsampler"):
            vars(self).pop(name, None)

    def after_job(self) -> None:
        self._loaded.pipeline.maybe_free_model_hooks()

    @property
    def _own(self) -> Ltx2Options:
        assert isinstance(self.options, Ltx2Options)
        return self.options

    def _frames(
        self, shot: Shot, context: GenerationContext, sounds: list[Audio]
    ) -> "Generator[Frame, None, None]":
        with self.job(context):
            progress = StepProgress(context, shot.num_inference_steps, passes=self._own.stages)
            progress.say("encoding the prompt")
            with oom_as_job_error("encoding the prompt of", self.device, shot):
                texts = self._embedded(shot)
            with oom_as_job_error("denoising", self.device, shot):
                latents, sound_latents = self._denoised(shot, context, progress, texts)
            with oom_as_job_error("decoding", self.device, shot):
                pipeline = self._loaded.pipeline
                sounds.append(sound_of(pipeline.audio_vae, pipeline.vocoder, sound_latents))
                for number, frame in enumerate(self._decoded(latents), start=1):
                    progress.decoded(number, shot.num_frames)
                    yield frame

    def _embedded(self, shot: Shot) -> dict[str, torch.Tensor]:
        """The prompt, and the negative one where it counts, as the pipelines' arguments."""
        texts = self._embedding("", shot.prompt)
        if shot.guidance_scale > 1.0:
            texts |= self._embedding("negative_", shot.negative_prompt)
        return texts

    def _embedding(self, which: str, text: str) -> dict[str, torch.Tensor]:
        pictures, sound = self.prompts.get(
            text, lambda: connected(self._loaded.pipeline, text), keep=bool(which)
        )
        joined = self._connected.join(pictures, sound).to(self.device)
        mask = torch.ones(joined.shape[:2], dtype=torch.int64, device=self.device)
        return {f"{which}prompt_embeds": joined, f"{which}prompt_attention_mask": mask}

    def _denoised(
        self, shot: Shot, context: GenerationContext, progress: StepProgress, texts: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents of the pictures and of the sound, as their decoders want them."""
        generator = self.generator(shot)
        distilled = self._own.schedule == "distilled"
        first = dict(texts)
        if distilled:
            first |= {"sigmas": DISTILLED_SIGMA_VALUES, **OFF}
        else:
            transformer = self._loaded.pipeline.transformer
            newer = bool(self._loaded.pipeline.connectors.config.per_modality_projections)
            first |= guidance(
                shot.guidance_scale, newer=newer, num_blocks=len(transformer.transformer_blocks)
            )
        if self._upsampler is None:
            return self._run(shot, context, progress, generator, distilled=distilled, **first)
        half = replace(shot, width=shot.width // 2, height=shot.height // 2)
        latents, sound_latents = self._run(half, context, progress, generator, distilled=distilled, **first)
        (larger,) = self._upsampler(
            latents=latents,
            width=half.width,
            height=half.height,
            num_frames=half.num_frames,
            output_type="latent",
            return_dict=False,
        )
        progress.next_pass()
        with self._refining():
            return self._run(
                shot,
                context,
                progress,
                generator,
                distilled=True,
                latents=larger,
                audio_latents=sound_latents,
                noise_scale=STAGE_2_DISTILLED_SIGMA_VALUES[0],
                sigmas=STAGE_2_DISTILLED_SIGMA_VALUES,
                prompt_embeds=texts["prompt_embeds"],
                prompt_attention_mask=texts["prompt_attention_mask"],
                **OFF,
            )

    def _run(
        self,
        shot: Shot,
        context: GenerationContext,
        progress: StepProgress,
        generator: torch.Generator,
        *,
        distilled: bool,
        **arguments: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        conditions = self._conditions(shot, context)
        pipeline = self._from_pictures if conditions else self._from_text
        if conditions:
            arguments["conditions"] = conditions
        # The distilled weights have learnt their noise levels; nothing may shift them.
        unshifted = {"use_dynamic_shifting": False, "shift_terminal": None} if distilled else {}
        pipeline.scheduler = type(self._scheduler).from_config(self._scheduler.config, **unshifted)
        steps = len(arguments["sigmas"]) if "sigmas" in arguments else shot.num_inference_steps
        with self._cache.during(steps):
            latents, sound_latents = pipeline(
                width=shot.width,
                height=shot.height,
                num_frames=shot.num_frames,
                frame_rate=shot.fps,
                num_inference_steps=steps,
                generator=generator,
                output_type="latent",
                return_dict=False,
                callback_on_step_end=progress.callback,
                callback_on_step_end_tensor_inputs=[],
                **arguments,
            )
        return latents, sound_latents

    def _conditions(self, shot: Shot, context: GenerationContext) -> list[LTX2VideoCondition]:
        """The pictures that the video begins and ends with."""
        given: list[tuple[int, Any]] = []
        if shot.task == Task.IMAGE_TO_VIDEO:
            given.append((0, open_picture(context.image, shot.width, shot.height)))
        if context.last_image is not None:
            given.append((-1, open_picture(context.last_image, shot.width, shot.height)))
        return [LTX2VideoCondition(frames=picture, index=place, crf=self._crf) for place, picture in given]

    @contextmanager
    def _refining(self) -> Generator[None]:
        """The second stage's LoRA holds meanwhile."""
        if self._own.refine_lora is None:
            yield
            return
        self._loaded.pipeline.enable_lora()
        try:
            yield
        finally:
            self._loaded.pipeline.disable_lora()

    def _decoded(self, latents: torch.Tensor) -> "Iterator[Frame]":
        vae = self._loaded.pipeline.vae
        if self._own.vae_tiling == "on":
            return tiled(vae, latents)
        if self._own.vae_tiling == "off":
            return whole(vae, latents)
        try:
            return whole(vae, latents)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        release(self.device)
        log.info("decoding_in_tiles", why="there was no memory to decode in one piece")
        return tiled(vae, latents)


def _without_text_encoder(pipeline_class: type[Any], pipeline: Any, connectors: Connected) -> Any:
    """A pipeline over the same components that is given its prompts ready."""
    wanted = signature(pipeline_class).parameters.keys()
    parts = {name: part for name, part in pipeline.components.items() if name in wanted}
    made = pipeline_class(**{**parts, "text_encoder": None, "tokenizer": None, "connectors": connectors})
    made.set_progress_bar_config(disable=True)
    return made
