"""The nodes of the commonest graph, an image from text. The image is a colour gradient that the seed sets."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from PIL import Image

from tests.support.comfyui.fake_comfyui.nodes.declaration import (
    NodeResult,
    Run,
    integer,
    link,
    node,
    number,
    old_style_combo,
    seed,
)
from tests.support.comfyui.fake_comfyui.nodes.images import Images

CELL = 8
"""Pixels of a latent's cell, which becomes one of its preview's."""


class Latent(Struct, frozen=True):
    """``width`` and ``height`` in pixels."""

    width: int
    height: int
    batch: int
    seed: int = 0


def slope(width: int, height: int, seed: int) -> NDArray[np.float64]:
    across, down = np.linspace(0, 1, width), np.linspace(0, 1, height)
    colour = np.random.default_rng(seed).uniform(64, 255, 3)
    return np.add.outer(down, across)[..., None] / 2 * colour


@node(
    "EmptyLatentImage",
    "LATENT",
    v3=False,
    width=integer(512, 16, 16384, 8),
    height=integer(512, 16, 16384, 8),
    batch_size=integer(1, 1, 4096),
)
def empty_latent(run: Run, width: int, height: int, batch_size: int) -> NodeResult:
    return (Latent(width // CELL * CELL, height // CELL * CELL, batch_size),)


@node(
    "KSampler",
    "LATENT",
    v3=False,
    model=link("MODEL"),
    seed=seed(),
    steps=integer(20, 1, 10000),
    cfg=number(8.0, 0.0, 100.0, 0.1),
    sampler_name=old_style_combo("euler", "dpmpp_2m", "lcm"),
    scheduler=old_style_combo("simple", "normal", "karras"),
    positive=link("CONDITIONING"),
    negative=link("CONDITIONING"),
    latent_image=link("LATENT"),
    denoise=number(1.0, 0.0, 1.0),
)
def sample(
    run: Run,
    model: str,
    seed: int,
    steps: int,
    cfg: float,
    sampler_name: str,
    scheduler: str,
    positive: str,
    negative: str,
    latent_image: Latent,
    denoise: float,
) -> NodeResult:
    """The noise gives way to the gradient step by step."""
    width, height = latent_image.width // CELL, latent_image.height // CELL
    clear = slope(width, height, seed)
    noise = np.random.default_rng(seed).uniform(0, 255, clear.shape)
    for done in range(1, steps + 1):
        mixed = noise + (clear - noise) * (done / steps)
        run.step(done, steps, Image.fromarray(mixed.astype(np.uint8)))
    return (Latent(latent_image.width, latent_image.height, latent_image.batch, seed),)


@node("VAEDecode", "IMAGE", v3=False, samples=link("LATENT"), vae=link("VAE"))
def decode(run: Run, samples: Latent, vae: str) -> NodeResult:
    made: list[Images] = [
        slope(samples.width, samples.height, samples.seed + index).astype(np.uint8)
        for index in range(samples.batch)
    ]
    return (np.stack(made),)
