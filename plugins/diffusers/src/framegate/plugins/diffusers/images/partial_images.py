"""Partial images: what an image would be if generation stopped now."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

from framegate.core.backend import GenerationContext
from framegate.core.types import Shot
from framegate.plugins.diffusers.pixels import to_frame
from framegate.plugins.diffusers.progress import StepCallback

if TYPE_CHECKING:
    from framegate.core.backend import Frame

_EULER: tuple[type[Any], ...] = (EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler)


class PartialImages:
    """Report to ``context`` as many partial images of ``shot`` as it requests, spread over the steps.

    The first step says nothing yet, and the last makes the image itself; so a run of two steps has no
    partial image, and one of four at most two.
    """

    def __init__(self, pipeline: Any, shot: Shot, context: GenerationContext) -> None:
        self._pipeline = pipeline
        self._shot = shot
        self._context = context
        count = context.num_partial_images
        self._shares = [number / (count + 1) for number in range(1, count + 1)]
        self._before: torch.Tensor | None = None

    def before(self, callback: StepCallback) -> StepCallback:
        """Return a callback that reports a partial image where one is due, then calls ``callback``.

        It needs ``callback_on_step_end_tensor_inputs=["latents"]``.
        """

        def on_step_end(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            self._report(index + 1, tensors["latents"])
            return callback(pipeline, index, timestep, tensors)

        return on_step_end

    def _report(self, done: int, latents: torch.Tensor) -> None:
        before, self._before = self._before, latents
        steps = int(self._pipeline.num_timesteps)
        if before is None or done == steps or done not in [round(share * steps) for share in self._shares]:
            return
        if latents.ndim == 4 or _unpacks(self._pipeline):
            self._context.report_partial_image(partial(self._render, before, latents))

    def _render(self, before: torch.Tensor, latents: torch.Tensor) -> "Frame":
        width, height = self._shot.width, self._shot.height
        clean = estimate_clean(self._pipeline.scheduler, before, latents)
        return to_frame(decode_latents(self._pipeline, clean, width, height), width, height)


def supports_partial_images(pipeline: Any) -> bool:
    """Return whether `decode_latents` may know what ``pipeline`` works on.

    An image that a safety checker has to see first is not shown.
    """
    return (
        "latents" in getattr(pipeline, "_callback_tensor_inputs", ())
        and getattr(pipeline, "vae", None) is not None
        and getattr(pipeline, "image_processor", None) is not None
        and getattr(pipeline, "safety_checker", None) is None
    )


def estimate_clean(scheduler: Any, before: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
    """Return the clean latents that the step from ``before`` to ``latents`` was heading for.

    Euler's method goes straight from one noise level to the next; this is where it would arrive at none.
    After a step of another kind it is ``latents``, noise included.
    """
    if not isinstance(scheduler, _EULER):
        return latents
    if scheduler.config.get("stochastic_sampling"):
        return latents
    # The scheduler has already counted the step.
    sigma_before, sigma = (float(scheduler.sigmas[scheduler.step_index - back]) for back in (1, 0))
    slope = (latents.float() - before.float()) / (sigma - sigma_before)
    return (latents.float() - sigma * slope).to(latents.dtype)


def decode_latents(pipeline: Any, latents: torch.Tensor, width: int, height: int) -> Any:
    """Return the image of ``latents`` (height × width × 3, in 0…1), decoded as ``pipeline`` decodes its last.

    The latents are 1 × channels × height × width, or packed as `_unpacks` knows.
    """
    vae = pipeline.vae
    with _precise_enough(vae):
        latents = latents.to(vae.dtype)
        if latents.ndim == 4:
            latents = _denormalize(pipeline, latents)
        elif hasattr(pipeline, "_unpack_latents"):
            latents = _denormalize(pipeline, _unpack(pipeline, latents, width, height))
        else:
            latents = _unpatchify(pipeline, latents, width, height)
        pixels = vae.decode(latents, return_dict=False)[0]
    if pixels.ndim == 5:  # a video of one frame
        pixels = pixels[:, :, 0]
    return pipeline.image_processor.postprocess(pixels, output_type="np")[0]


def _unpacks(pipeline: Any) -> bool:
    """Return whether ``pipeline`` can lay out the sequences (1 × places × channels) that it works on."""
    if hasattr(pipeline, "_unpack_latents"):
        return "layers" not in signature(pipeline._unpack_latents).parameters
    return hasattr(pipeline, "_unpack_latents_with_ids")


def _unpack(pipeline: Any, latents: torch.Tensor, width: int, height: int) -> torch.Tensor:
    known = {"width": width, "height": height, "vae_scale_factor": pipeline.vae_scale_factor}
    accepted = signature(pipeline._unpack_latents).parameters
    if "patch_size" in accepted:
        known["patch_size"] = pipeline.transformer.config.patch_size
    grid: torch.Tensor = pipeline._unpack_latents(
        latents, **{name: value for name, value in known.items() if name in accepted}
    )
    return grid


def _unpatchify(pipeline: Any, latents: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Undo FLUX.2's packing: two-by-two patches, row by row, normalised by its VAE's statistics."""
    vae, patch = pipeline.vae, 2 * pipeline.vae_scale_factor
    rows = latents.transpose(1, 2).reshape(1, -1, height // patch, width // patch)
    mean = vae.bn.running_mean.view(1, -1, 1, 1).to(rows)
    deviation = torch.sqrt(vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).to(rows)
    grid: torch.Tensor = pipeline._unpatchify_latents(rows * deviation + mean)
    return grid


def _denormalize(pipeline: Any, latents: torch.Tensor) -> torch.Tensor:
    config: Any = pipeline.vae.config
    scale: float = config.get("scaling_factor", 1.0)
    if config.get("latents_mean") is None or config.get("latents_std") is None:
        shift: float = config.get("shift_factor") or 0.0
        return latents / scale + shift
    shape = (1, -1, *[1] * (latents.ndim - 2))
    mean = torch.tensor(config.latents_mean).view(shape).to(latents)
    deviation = torch.tensor(config.latents_std).view(shape).to(latents)
    # Pipelines around a U-Net use both; the others leave the factor at its default, unused.
    return latents * deviation / (scale if hasattr(pipeline, "unet") else 1.0) + mean


@contextmanager
def _precise_enough(vae: Any) -> Generator[None]:
    """Decode in full precision where half overflows, as those VAEs' pipelines do."""
    upcast = vae.dtype == torch.float16 and vae.config.get("force_upcast")
    if upcast:
        vae.to(torch.float32)
    try:
        yield
    finally:
        if upcast:
            vae.to(torch.float16)
