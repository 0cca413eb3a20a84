"""Scenes under the sky: mountains, forest, snow, desert, sea, lake and city."""

from framegate.plugins.preview.boat import Boat
from framegate.plugins.preview.buildings import paint_skyline
from framegate.plugins.preview.colours import mix
from framegate.plugins.preview.panorama import Panorama
from framegate.plugins.preview.particles import Particles, Swarm
from framegate.plugins.preview.scenery import add_dust, add_hill, add_pines, add_range, add_ridge, add_water
from framegate.plugins.preview.stage import AMBIENT, Stage
from framegate.plugins.preview.terrain import Ridge

BOAT_WORDS = ("boat", "ship", "sail", "yacht", "船", "帆")


def mountains(stage: Stage) -> Panorama:
    palette = stage.palette(*AMBIENT)
    horizon = int(stage.height * 0.78)
    panorama = stage.open_air(palette, stage.light(0.3, 0.5, horizon), horizon, cover=0.5)
    add_range(stage, panorama, palette, crest=0.34, snow=0.3)
    for number in range(3):
        add_hill(stage, panorama, palette, number, 3, first=0.58, step=0.13)
    add_pines(stage, panorama, palette, crest=0.84, size=0.13)
    add_dust(stage, panorama, palette)
    return panorama


def forest(stage: Stage) -> Panorama:
    palette = stage.palette("dawn", "sunset", "dusk", "day")
    horizon = int(stage.height * 0.8)
    panorama = stage.open_air(palette, stage.light(0.3, 0.5, horizon), horizon, cover=0.38, glow=0.5)
    add_range(stage, panorama, palette, crest=0.42, snow=0.0)
    for number, (crest, size) in enumerate(((0.56, 0.09), (0.66, 0.14), (0.76, 0.22), (0.9, 0.36))):
        add_pines(stage, panorama, palette, crest=crest, size=size, depth=(number + 1.4) / 5)
    fireflies = Swarm(
        (palette.light, mix(palette.light, (255, 220, 120), 0.6)),
        count=38,
        smallest=0.003,
        largest=0.011,
        velocity=(0.012, -0.014),
        sway=0.05,
        softness=0.9,
        opacity=0.95,
        twinkle=0.8,
    )
    panorama.swarms.append(Particles(stage.random("fireflies"), stage.width, stage.height, fireflies))
    return panorama


def snow(stage: Stage) -> Panorama:
    palette = stage.palette("winter")
    horizon = int(stage.height * 0.78)
    panorama = stage.open_air(palette, stage.light(0.3, 0.45, horizon), horizon, cover=0.55)
    add_range(stage, panorama, palette, crest=0.36, snow=0.75)
    add_pines(stage, panorama, palette, crest=0.6, size=0.1, depth=0.45)
    add_pines(stage, panorama, palette, crest=0.7, size=0.2, depth=0.75)
    white = (250, 251, 255)
    shade = mix(palette.zenith, white, 0.25 if palette.night else 0.6)
    drift = Ridge(0.8, 0.08, 1.6, 0.1, shade, mix(shade, white, 0.7), white, fog=0.85, relief=0.6)
    add_ridge(stage, panorama, "drift", drift, speed=1.0)
    for name, swarm in (
        ("far", Swarm((white,), 150, 0.0015, 0.004, (0.03, 0.1), softness=0.9, opacity=0.8)),
        ("close", Swarm((white,), 46, 0.004, 0.013, (0.06, 0.22), sway=0.04, softness=1.0, opacity=0.9)),
    ):
        panorama.swarms.append(Particles(stage.random(f"{name} snow"), stage.width, stage.height, swarm))
    return panorama


def desert(stage: Stage) -> Panorama:
    palette = stage.palette("desert")
    horizon = int(stage.height * 0.66)
    panorama = stage.open_air(
        palette, stage.light(0.42, 0.66, horizon, size=0.08), horizon, cover=0.26, glow=0.45
    )
    sand, shade = mix(palette.horizon, palette.light, 0.25), palette.near
    for number in range(4):
        share = (number + 1) / 4
        dune = Ridge(
            crest=0.54 + 0.105 * number,
            amplitude=0.06 + 0.05 * share,
            waves=3.4 - 0.55 * number,
            roughness=0.0,
            colour=mix(palette.haze, shade, 0.25 + 0.75 * share),
            mist=mix(palette.haze, mix(sand, shade, 0.55), share),
            light=mix(palette.haze, sand, 0.4 + 0.6 * share),
            fog=0.55,
            relief=0.72,
        )
        add_ridge(stage, panorama, f"dune {number}", dune, speed=0.08 + 0.92 * share**1.6)
    add_dust(stage, panorama, palette, speed=0.05)
    return panorama


def sea(stage: Stage) -> Panorama:
    palette = stage.palette("dawn", "day", "sunset", "sunset", "dusk")
    horizon = int(stage.height * 0.56)
    light = stage.light(0.55, 0.8, horizon, size=0.065)
    panorama = stage.open_air(palette, light, horizon, cover=0.46, glow=0.42)
    rng = stage.random("islands")
    for number in range(int(rng.integers(1, 3))):
        island = Ridge(
            crest=0.47 + 0.03 * number,
            amplitude=0.1,
            waves=2.6,
            roughness=0.35,
            colour=mix(palette.haze, palette.near, 0.22 + 0.22 * number),
            mist=palette.horizon,
            light=palette.light,
            fog=0.6,
        )
        add_ridge(stage, panorama, f"island {number}", island, speed=0.06 + 0.08 * number, bottom=horizon)
    if any(word in stage.prompt.lower() for word in BOAT_WORDS) or rng.random() < 0.4:
        side = 0.36 if light.x > stage.width / 2 else 0.64
        hull = mix(palette.near, palette.zenith, 0.2)
        panorama.boat = Boat(
            stage.unit, stage.width * side, horizon, hull, mix(palette.light, (255, 255, 255), 0.4)
        )
    add_water(stage, panorama, palette, light, horizon, depth=0.62, chop=1.0)
    return panorama


def lake(stage: Stage) -> Panorama:
    palette = stage.palette(*AMBIENT)
    horizon = int(stage.height * 0.62)
    light = stage.light(0.35, 0.55, horizon)
    panorama = stage.open_air(palette, light, horizon, cover=0.44)
    add_range(stage, panorama, palette, crest=0.26, snow=0.3, bottom=horizon)
    add_hill(stage, panorama, palette, 1, 3, first=0.38, step=0.06, bottom=horizon)
    add_pines(stage, panorama, palette, crest=0.535, size=0.11, depth=0.7, bottom=horizon)
    add_water(stage, panorama, palette, light, horizon, depth=0.4, chop=0.45)
    add_dust(stage, panorama, palette)
    return panorama


def city(stage: Stage) -> Panorama:
    palette = stage.palette("night", "night", "dusk")
    bank = int(stage.height * 0.74)
    light = stage.light(0.16, 0.34, bank, size=0.05)
    panorama = stage.open_air(palette, light, bank, cover=0.36, glow=0.2)
    for number, (tallest, lit) in enumerate(((0.66, 0.16), (0.54, 0.26), (0.36, 0.36))):
        near = (number + 1) / 3
        panorama.layers.append(
            paint_skyline(
                stage.random(f"skyline {number}"),
                stage.breadth,
                bank,
                stage.unit,
                tallest=tallest,
                colour=mix(palette.haze, palette.near, 0.35 + 0.6 * near),
                haze=mix(palette.horizon, palette.near, 0.2 + 0.4 * near),
                lit=lit,
                speed=0.1 + 0.4 * near**1.5,
            )
        )
    add_water(stage, panorama, palette, light, bank, depth=0.45, chop=0.75)
    return panorama
