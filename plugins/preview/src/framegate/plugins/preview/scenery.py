"""The pieces that outdoor scenes are put together from. Each is added in front of what is there."""

from framegate.plugins.preview.colours import Palette, mix
from framegate.plugins.preview.panorama import Panorama
from framegate.plugins.preview.particles import Particles, Swarm
from framegate.plugins.preview.sky import Light
from framegate.plugins.preview.stage import Stage
from framegate.plugins.preview.terrain import Ridge, paint_ridge
from framegate.plugins.preview.water import Water


def add_ridge(
    stage: Stage, panorama: Panorama, name: str, ridge: Ridge, *, speed: float, bottom: int | None = None
) -> None:
    base = bottom or stage.height
    layer = paint_ridge(
        stage.random(name), ridge, stage.breadth, stage.height, bottom=base, unit=stage.unit, speed=speed
    )
    panorama.layers.append(layer)


def add_range(
    stage: Stage,
    panorama: Panorama,
    palette: Palette,
    *,
    crest: float,
    snow: float,
    bottom: int | None = None,
) -> None:
    """The far mountains."""
    land = mix(palette.haze, mix(palette.near, palette.zenith, 0.5), 0.5)
    ridge = Ridge(
        crest=crest,
        amplitude=0.26,
        waves=3.2,
        roughness=0.75,
        colour=land,
        mist=palette.haze,
        light=mix(palette.light, palette.horizon, 0.25),
        fog=0.95,
        relief=0.2,
        snow=snow,
    )
    add_ridge(stage, panorama, "range", ridge, speed=0.07, bottom=bottom)


def add_hill(
    stage: Stage,
    panorama: Panorama,
    palette: Palette,
    number: int,
    count: int,
    *,
    first: float,
    step: float,
    bottom: int | None = None,
) -> None:
    share = (number + 1) / (count + 1)
    hill = Ridge(
        crest=first + step * number,
        amplitude=0.12,
        waves=2.5 + 0.4 * (count - number),
        roughness=0.3,
        colour=mix(palette.haze, palette.near, 0.25 + 0.65 * share),
        mist=mix(palette.haze, palette.near, 0.3 * share),
        light=palette.light,
        fog=0.85,
        relief=0.1,
    )
    add_ridge(stage, panorama, f"hill {number}", hill, speed=0.12 + 0.5 * share, bottom=bottom)


def add_pines(
    stage: Stage,
    panorama: Panorama,
    palette: Palette,
    *,
    crest: float,
    size: float,
    depth: float = 1.0,
    bottom: int | None = None,
) -> None:
    """A wooded ridge; ``depth`` 0 lies in the far haze, 1 before the camera."""
    ridge = Ridge(
        crest=crest,
        amplitude=0.07,
        waves=2.2,
        roughness=0.25,
        colour=mix(palette.haze, palette.near, 0.12 + 0.88 * depth),
        mist=mix(palette.haze, palette.near, 0.55 * depth**2),
        light=palette.light,
        fog=0.8,
        pines=size,
    )
    add_ridge(stage, panorama, f"pines {crest}", ridge, speed=0.1 + 0.9 * depth**1.5, bottom=bottom)


def add_water(
    stage: Stage,
    panorama: Panorama,
    palette: Palette,
    light: Light,
    horizon: int,
    *,
    depth: float,
    chop: float,
) -> None:
    panorama.water = Water(
        stage.random("water"),
        stage.width,
        stage.height,
        horizon,
        tint=mix(palette.zenith, palette.near, 0.35),
        depth=depth,
        light=palette.light,
        light_x=light.x,
        chop=chop,
    )


def add_dust(stage: Stage, panorama: Panorama, palette: Palette, speed: float = 0.02) -> None:
    dust = Swarm(
        (palette.light,),
        count=26,
        smallest=0.002,
        largest=0.02,
        velocity=(speed, -speed * 0.4),
        sway=0.03,
        softness=0.9,
        opacity=0.42,
        twinkle=0.7,
    )
    panorama.swarms.append(Particles(stage.random("dust"), stage.width, stage.height, dust))
