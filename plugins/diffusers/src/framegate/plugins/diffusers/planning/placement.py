"""Where a model's weights are kept: on the device, in host memory, or in turn."""

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from framegate.plugins.diffusers.planning.activations import Activations

Offload: TypeAlias = Literal["none", "text-encoder", "model", "group"]
"""``options.offload``, decided."""
GIB = 2**30
"""Bytes."""
RESERVED = 2 * GIB
"""Bytes for CUDA's context (some 0.5 GiB), the workspaces of cuBLAS (32 MiB a handle and stream on Hopper)
and of cuDNN (convolutions may bring their input and output into another layout, some 0.5 GiB a tensor at
720p), and fragmentation."""
ENCODING = "encoding"
"""The phase of text and image encoders, and of what takes their output on to the transformer."""
DECODING = "decoding"
"""The phase of the VAEs and the vocoder."""
RESIDENT = "resident"
"""What stays on the device however the rest is placed: it is small, and works between others' steps."""
_PHASES = {
    "connectors": ENCODING,
    "vae": DECODING,
    "audio_vae": DECODING,
    "vocoder": DECODING,
    "latent_upsampler": RESIDENT,
}
_WAYS: tuple[Offload, ...] = ("none", "text-encoder", "model", "group")


class Placement(Struct, frozen=True):
    """How weights are placed, and what that takes in bytes.

    ``resident`` are held by the weights between jobs, ``phases`` by weights and activations in each phase of
    a job, of which ``peak`` is the largest. With ``tiled``, decoding in one piece does not fit.
    """

    offload: Offload
    resident: int
    peak: int
    phases: Mapping[str, int] = {}
    tiled: bool = False


def keeps_less(one: Placement, other: Placement) -> bool:
    """Return whether ``one`` has less on the device than ``other``."""
    return _WAYS.index(one.offload) > _WAYS.index(other.offload)


def phase_of(component: str) -> str:
    """Return the phase in which a pipeline's ``component`` runs; each transformer has one of its own."""
    if component.startswith(("text_encoder", "image_encoder")):
        return ENCODING
    return _PHASES.get(component, component)


def choose_placement(
    requested: str,
    sizes: Mapping[str, int],
    activations: Activations,
    *,
    capacity: int,
    tiling: str = "auto",
) -> Placement:
    """Return the placement ``requested``, or with "auto" the first that fits a device of ``capacity`` bytes.

    ``sizes`` are the bytes of each component as it is kept; ``tiling`` is ``options.vae_tiling``. Ways that
    decode in one piece come before those that decode in tiles, as moving whole models costs seconds and
    changes nothing, while tiles take up to twice the decoding and change pixels. Only layer by layer, which
    costs the most, comes last.
    """
    ways: tuple[Offload, ...] = _WAYS if requested == "auto" else tuple(w for w in _WAYS if w == requested)
    planned = list(_placements(ways, sizes, activations, tiling))
    return next((each for each in planned if each.peak + RESERVED <= capacity), planned[-1])


def _placements(
    ways: tuple[Offload, ...], sizes: Mapping[str, int], activations: Activations, tiling: str
) -> Iterator[Placement]:
    for group in (False, True):
        for tiled in {"on": (True,), "off": (False,)}.get(tiling, (False, True)):
            for way in ways:
                if (way == "group") == group:
                    yield _placement(way, sizes, activations, tiled=tiled)


def _placement(way: Offload, sizes: Mapping[str, int], activations: Activations, *, tiled: bool) -> Placement:
    encoders = sum(size for name, size in sizes.items() if phase_of(name) == ENCODING)
    decoders = sum(size for name, size in sizes.items() if phase_of(name) == DECODING)
    always = sum(size for name, size in sizes.items() if phase_of(name) == RESIDENT)
    own = [size for name, size in sizes.items() if phase_of(name) not in (ENCODING, DECODING, RESIDENT)]
    total = encoders + decoders + sum(own)
    largest = max(own, default=0)
    # What is on the device between jobs, and while text is encoded, steps are made, and the VAE works.
    match way:
        case "none":
            resident, encoding, denoising, decoding = total, total, total, total
        case "text-encoder":
            resident = total - encoders
            encoding, denoising, decoding = total, resident, resident
        case "model":
            resident, encoding, denoising, decoding = 0, encoders, largest, decoders
        case "group":  # two blocks of some forty, and what is not part of a block
            resident, encoding, denoising, decoding = 0, encoders // 10, largest // 10, decoders
    phases = {
        "encode": encoding + activations.encode,
        "condition": decoding + activations.condition,
        "denoise": denoising + activations.denoise,
        "decode": decoding + (activations.decode_tiled if tiled else activations.decode),
    }
    phases = {name: always + size for name, size in phases.items()}
    return Placement(way, always + resident, max(phases.values()), phases, tiled)
