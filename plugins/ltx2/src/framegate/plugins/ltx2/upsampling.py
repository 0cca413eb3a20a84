"""The latent upsampler between the two stages."""

from pathlib import Path
from typing import Any

import torch
from diffusers import LTX2LatentUpsamplePipeline
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel

from framegate.core.errors import GenerationFailed
from framegate.plugins.ltx2.backend import Ltx2Options

_FOLDER = "latent_upsampler"


def load_upsampler(source: str, options: Ltx2Options, vae: Any, dtype: torch.dtype) -> Any:
    """A pipeline that doubles the sides of latents. ``source`` is the model's own folder or hub id.

    Raises:
        GenerationFailed: there is no upsampler where it should be.
    """
    place = Path(options.upsampler or source).expanduser()
    named = str(place) if place.is_dir() else (options.upsampler or source)
    subfolder = None if (place / "config.json").is_file() else _FOLDER
    try:
        model = LTX2LatentUpsamplerModel.from_pretrained(
            named, subfolder=subfolder, dtype=dtype, local_files_only=options.offline or place.is_dir()
        )
    except (OSError, ValueError) as error:
        raise GenerationFailed(
            f"There is no {_FOLDER} in {Path(named).name!r}; two stages need one: give its folder or hub id "
            "as options.upsampler."
        ) from error
    return LTX2LatentUpsamplePipeline(vae=vae, latent_upsampler=model.eval())
