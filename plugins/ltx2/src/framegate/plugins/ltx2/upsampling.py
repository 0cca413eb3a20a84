"""The latent upsampler between the two stages."""

from pathlib import Path
from typing import Any

import torch
from diffusers import LTX2LatentUpsamplePipeline
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel
from safetensors import SafetensorError

from framegate.core.errors import GenerationFailed
from framegate.plugins.ltx2.backend import UPSAMPLER, Ltx2Options


def load_upsampler(source: str, options: Ltx2Options, vae: Any, dtype: torch.dtype) -> Any:
    """Return a pipeline that doubles the sides of latents. ``source`` is the model's folder or hub id.

    Raises:
        GenerationFailed: There is no upsampler where it should be.
    """
    folder = Path(options.upsampler or source).expanduser()
    location = str(folder) if folder.is_dir() else (options.upsampler or source)
    subfolder = None if (folder / "config.json").is_file() else UPSAMPLER
    try:
        model = LTX2LatentUpsamplerModel.from_pretrained(
            location,
            subfolder=subfolder,
            revision=(options.upsampler_revision if options.upsampler else options.revision) or None,
            dtype=dtype,
            local_files_only=options.offline or folder.is_dir(),
            use_safetensors=True,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise GenerationFailed(
            f"There is no {UPSAMPLER} in {Path(location).name!r}, and two stages need one: name its folder "
            "or hub id as options.upsampler."
        ) from error
    return LTX2LatentUpsamplePipeline(vae=vae, latent_upsampler=model.eval())
