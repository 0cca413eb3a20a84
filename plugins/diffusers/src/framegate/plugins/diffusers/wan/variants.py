"""Which of the Wan models a folder holds."""

from pathlib import Path

from msgspec import Struct

from framegate.core.errors import GenerationFailed
from framegate.core.types import Task
from framegate.plugins.diffusers.planning.model_folder import read_config, read_index


class Variant(Struct, frozen=True):
    """What a folder's weights are.

    ``tasks`` are those that they can do. With ``first_and_last`` they need a last image, too; with
    ``experts`` a second transformer makes the low-noise steps.
    """

    tasks: frozenset[Task]
    first_and_last: bool = False
    experts: bool = False


def variant_of(folder: Path) -> Variant:
    """Return which Wan model ``folder`` holds.

    Raises:
        GenerationFailed: It holds another model.
    """
    index = read_index(folder)
    transformer, vae = read_config(folder, "transformer"), read_config(folder, "vae")
    if transformer.get("_class_name") != "WanTransformer3DModel" or "z_dim" not in vae:
        raise GenerationFailed(
            f"The folder {folder.name!r} holds {index.get('_class_name', 'no pipeline')}, not a Wan model."
        )
    experts = bool((index.get("transformer_2") or [None])[0])
    if index.get("expand_timesteps"):
        return Variant(frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO}))
    if transformer["in_channels"] > vae["z_dim"]:  # noise, a mask and an image's latents side by side
        # Only weights that were trained with two images tell their CLIP tokens apart.
        both = transformer.get("pos_embed_seq_len") is not None
        return Variant(frozenset({Task.IMAGE_TO_VIDEO}), first_and_last=both, experts=experts)
    tasks = {Task.TEXT_TO_VIDEO} if experts else {Task.TEXT_TO_VIDEO, Task.VIDEO_TO_VIDEO}
    return Variant(frozenset(tasks), experts=experts)
