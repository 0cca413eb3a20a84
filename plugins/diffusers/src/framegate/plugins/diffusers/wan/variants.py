"""Which of the Wan models lies in a folder."""

from pathlib import Path

from msgspec import Struct

from framegate.core.errors import GenerationFailed
from framegate.core.types import Task
from framegate.plugins.diffusers.checkpoints import config_of, index_of


class Variant(Struct, frozen=True):
    """``tasks``: what the weights can do. ``first_and_last``: they take a last picture. ``experts``: a second
    transformer makes the low-noise steps. ``own_timesteps``: every token has a timestep (Wan2.2-TI2V-5B)."""

    tasks: frozenset[Task]
    first_and_last: bool = False
    experts: bool = False
    own_timesteps: bool = False


def variant_of(folder: Path) -> Variant:
    """Raises:
    GenerationFailed: it is no Wan model that this backend knows.
    """
    index = index_of(folder)
    transformer, vae = config_of(folder, "transformer"), config_of(folder, "vae")
    if transformer.get("_class_name") != "WanTransformer3DModel" or "z_dim" not in vae:
        raise GenerationFailed(
            f"The folder {folder.name!r} holds {index.get('_class_name', 'no pipeline')}, not a Wan model."
        )
    experts = bool((index.get("transformer_2") or [None])[0])
    if index.get("expand_timesteps"):
        return Variant(frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO}), own_timesteps=True)
    if transformer["in_channels"] > vae["z_dim"]:  # noise, a mask and a picture's latents side by side
        # Only weights that were trained with two pictures know which of CLIP's tokens are of which.
        both = transformer.get("pos_embed_seq_len") is not None
        return Variant(frozenset({Task.IMAGE_TO_VIDEO}), first_and_last=both, experts=experts)
    tasks = {Task.TEXT_TO_VIDEO} if experts else {Task.TEXT_TO_VIDEO, Task.VIDEO_TO_VIDEO}
    return Variant(frozenset(tasks), experts=experts)
