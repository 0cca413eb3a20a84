"""Deep space: nebulae, stars and a planet."""

import numpy as np
from PIL import Image

from framegate.plugins.preview.colours import Colour, as_floats, hexed, mix
from framegate.plugins.preview.layers import Layer, quantised, with_alpha
from framegate.plugins.preview.motion import Floats, smoothstep
from framegate.plugins.preview.noise import field, sampled, texture
from framegate.plugins.preview.panorama import Panorama
from framegate.plugins.preview.particles import Particles, Swarm
from framegate.plugins.preview.sky import starfield
from framegate.plugins.preview.stage import Stage

RING_WORDS = ("ring", "saturn", "环", "土星")

_NEBULAE: tuple[tuple[Colour, Colour, Colour], ...] = (
    (hexed("070614"), hexed("7a2f8f"), hexed("2fb3c9")),
    (hexed("04070f"), hexed("24509c"), hexed("e0708a")),
    (hexed("0a0610"), hexed("a03a4a"), hexed("f0a860")),
    (hexed("030a10"), hexed("1d7a78"), hexed("8a6fe0")),
)


def space(stage: Stage) -> Panorama:
    rng = stage.random("space")
    dark, first, second = _NEBULAE[int(rng.integers(0, len(_NEBULAE)))]
    panorama = Panorama(_nebula(rng, stage, dark, first, second), stage.way)
    for number, (density, strength) in enumerate(((0.0016, 0.7), (0.0005, 1.0))):
        stars = starfield(rng, stage.breadth, stage.height, density) * np.float32(strength)
        white = as_floats(mix((255, 255, 255), second, 0.15)) + np.zeros((*stars.shape, 1), np.float32)
        panorama.layers.append(Layer(with_alpha(white, stars, rng), 0, speed=0.05 + 0.12 * number))
    panorama.layers.append(_planet(rng, stage, mix(first, second, 0.45), second))
    dust = Swarm(
        (mix(second, (255, 255, 255), 0.6), (255, 255, 255)),
        count=40,
        smallest=0.0015,
        largest=0.012,
        velocity=(-0.05, 0.012),
        softness=1.0,
        opacity=0.6,
        twinkle=0.6,
    )
    panorama.swarms.append(Particles(rng, stage.width, stage.height, dust))
    return panorama


def _nebula(
    rng: np.random.Generator, stage: Stage, dark: Colour, first: Colour, second: Colour
) -> Image.Image:
    size = stage.height, stage.width
    gas, glow, veil = (texture(rng, *size, detail=256, smoothness=1.75) for _ in range(3))
    fine = texture(rng, *size, detail=384, smoothness=1.2)
    rows = np.linspace(0.0, 1.0, stage.height, dtype=np.float32)[:, None]
    columns = np.linspace(0.0, 1.0, stage.width, dtype=np.float32)[None, :]
    slant = float(rng.uniform(-0.35, 0.35))
    band: Floats = np.exp(-(((rows - 0.5 + slant * (columns - 0.5)) / 0.34) ** 2))
    cloud = smoothstep(0.25, 1.0, (0.78 * gas + 0.22 * fine) * (0.35 + 0.85 * band))
    core = smoothstep(0.45, 1.05, (0.75 * glow + 0.25 * fine) * band + 0.18 * cloud)
    lanes = 1.0 - 0.75 * smoothstep(0.55, 0.95, veil) * band
    colours = as_floats(dark) + (as_floats(first) - as_floats(dark)) * (cloud * lanes)[..., None]
    colours += (as_floats(second) - colours) * (core * lanes * np.float32(0.75))[..., None]
    return Image.fromarray(quantised(colours.astype(np.float32), rng))


def _planet(rng: np.random.Generator, stage: Stage, body: Colour, rim: Colour) -> Layer:
    """A ball lit from one side, with bands of cloud, a glowing limb and perhaps a ring."""
    radius = stage.unit * float(rng.uniform(0.17, 0.24))
    side = 0.3 if rng.random() < 0.5 else 0.7
    speed = 0.22
    centre_x = stage.width * side + abs(stage.way) * speed * 0.5
    centre_y = stage.height * float(rng.uniform(0.34, 0.5))
    rows = np.arange(stage.height, dtype=np.float32)[:, None] + 0.5 - centre_y
    columns = np.arange(stage.breadth, dtype=np.float32)[None, :] + 0.5 - centre_x
    distance = np.hypot(rows, columns)
    x, y = columns / radius, rows / radius
    depth = np.sqrt(np.clip(1.0 - x * x - y * y, 0.0, 1.0))
    sun = 0.62 if side < 0.5 else -0.62
    daylight = np.clip((x * sun - y * 0.5 + depth * 0.55) / 0.97, 0.0, 1.0)

    tilt = float(rng.uniform(-0.45, 0.45))
    latitude = y * np.cos(tilt) + x * np.sin(tilt)
    longitude = x * np.cos(tilt) - y * np.sin(tilt)
    tile = field(rng, 256, 256, smoothness=1.6, stretch=5.0)
    bands = sampled(tile, 128.0 + latitude * 90.0, 128.0 + longitude / (0.35 + depth) * 40.0)
    tone = smoothstep(0.15, 0.85, bands)[..., None]
    pale, deep = as_floats(mix(body, (255, 240, 225), 0.55)), as_floats(mix(body, (20, 16, 40), 0.35))
    surface = (deep + (pale - deep) * tone) * (0.03 + 0.97 * daylight[..., None])
    limb = (np.clip(1.0 - depth, 0.0, 1.0) ** 3 * daylight)[..., None]
    surface += (as_floats(mix(rim, (255, 255, 255), 0.5)) - surface) * limb * np.float32(0.75)
    alpha = np.clip(radius - distance + 0.5, 0.0, 1.0)
    halo = np.exp(-np.clip(distance - radius, 0.0, None) / (radius * 0.09)) * 0.4
    halo *= np.clip(0.35 + x * sun - y * 0.5, 0.0, 1.0)
    glow = as_floats(mix(rim, (255, 255, 255), 0.4))
    colours = glow + (surface - glow) * alpha[..., None]
    cover = np.maximum(alpha, halo)
    ringed = any(word in stage.prompt.lower() for word in RING_WORDS)
    if ringed or rng.random() < 0.5:
        colours, cover = _with_ring(colours, cover, latitude, longitude, glow, alpha)
    return Layer(with_alpha(colours.astype(np.float32), cover.astype(np.float32), rng), 0, speed)


def _with_ring(
    colours: Floats, cover: Floats, latitude: Floats, longitude: Floats, tint: Floats, body: Floats
) -> tuple[Floats, Floats]:
    """A flat ring around the planet: behind it above the middle, before it below."""
    reach = np.hypot(longitude, latitude / 0.26)
    ring = smoothstep(1.28, 1.36, reach) * (1.0 - smoothstep(2.0, 2.12, reach))
    ring *= 0.5 + 0.35 * np.sin(reach * 31.0) + 0.15 * np.sin(reach * 73.0)
    ring *= np.where(latitude > 0, 1.0, 1.0 - body) * 0.8
    shown = ring[..., None]
    together = cover + ring - cover * ring
    weight = shown / np.maximum(together[..., None], 1e-3)
    return (colours + (tint - colours) * weight).astype(np.float32), together.astype(np.float32)
