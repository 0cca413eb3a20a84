"""LTX-2's backend. It imports nothing heavy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from framegate.core.backend import HubDownload, missing_paths
from framegate.core.hub_cache import cached_snapshot, is_hub_id
from framegate.core.types import ShotSize
from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.hub_files import upsampler_files
from framegate.plugins.diffusers.options import Lora, Options
from framegate.plugins.diffusers.planning.memory import Passes
from framegate.plugins.diffusers.planning.model_folder import (
    BYTES,
    component_sizes,
    count_file_parameters,
    lora_size,
)
from framegate.plugins.diffusers.requirements import install_command

UPSAMPLER = "latent_upsampler"
"""The upsampler's folder in a model's."""


class Ltx2Options(Options, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """LTX-2's options, in addition to those of every diffusers model.

    ``schedule``: "distilled" is for the distilled weights, or a distillation LoRA in ``loras``: their own
    eight noise levels, and one forward pass a step.
    ``stages``: with 2, a video is made at half its width and height, its latents are upsampled, and three
    more steps refine them; much faster for large videos. ``upsampler`` is the upsampler's folder or hub id;
    "" is the folder ``latent_upsampler`` of the source; ``upsampler_revision`` pins it to a commit of its
    repository. ``refine_lora`` is the distillation LoRA for the
    second stage only; weights that are not distilled need it.
    """

    schedule: Literal["full", "distilled"] = "full"
    stages: Literal[1, 2] = 1
    upsampler: str = ""
    upsampler_revision: str = ""
    refine_lora: Lora | None = None


class Ltx2Backend(DiffusersBackend):
    """LTX-2 on one device."""

    engine: ClassVar[str] = "framegate.plugins.ltx2.engine:Ltx2Engine"
    install: ClassVar[str] = install_command("ltx2")
    options_kind: ClassVar[type[Options]] = Ltx2Options

    def named_loras(self, options: Options) -> dict[str, Lora]:
        """Return the LoRAs of both stages."""
        loras = super().named_loras(options)
        if isinstance(options, Ltx2Options) and options.refine_lora is not None:
            loras["refine_lora"] = options.refine_lora
        return loras

    def passes(self, options: Options, size: ShotSize) -> Passes:
        """Return the first stage, guided unless the schedule is the distilled one, and the second."""
        assert isinstance(options, Ltx2Options)
        guided = 2 if options.schedule == "full" else 1
        if options.stages == 1:
            return [(size, guided)]
        return [(ShotSize(size.width // 2, size.height // 2, size.num_frames), guided), (size, 1)]

    def extra_sizes(self, folder: Path, options: Options, dtypes: Mapping[str, str]) -> dict[str, int]:
        """Return what the second stage adds: the upsampler, and the LoRA beside the transformer."""
        assert isinstance(options, Ltx2Options)
        extra = super().extra_sizes(folder, options, dtypes)
        if options.stages == 2:
            source = Path(options.upsampler).expanduser() if options.upsampler else folder
            if not source.exists():
                source = cached_snapshot(options.upsampler) or folder
            own = source if (source / "config.json").is_file() else source / UPSAMPLER
            parameters = sum(map(count_file_parameters, own.glob("*.safetensors")))
            extra[UPSAMPLER] = parameters * BYTES[dtypes["default"]]
        if options.refine_lora is not None:
            weights = component_sizes(folder, options, dtypes)
            lora = lora_size(options.refine_lora, weights.get("transformer", 0))
            extra["transformer"] = extra.get("transformer", 0) + lora
        return extra

    def check_files(self) -> Sequence[str]:
        """Return what is missing of the files that every model has, and the upsampler."""
        options = self.parsed_options()
        assert isinstance(options, Ltx2Options)
        return [*super().check_files(), *missing_paths({"upsampler": options.upsampler})]

    def hub_downloads(self) -> Sequence[HubDownload]:
        """Return what every model downloads, and the upsampler if there are two stages."""
        options = self.parsed_options()
        assert isinstance(options, Ltx2Options)
        needed = list(super().hub_downloads())
        repository = options.upsampler or self.source
        if options.stages == 2 and is_hub_id(repository):
            revision = options.upsampler_revision if options.upsampler else options.revision
            needed.append(HubDownload("upsampler", repository, upsampler_files, revision))
        return needed
