"""The ten styles: what each does to the colours, and what it lays over the picture."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from framegate.plugins.preview.colours import hexed
from framegate.plugins.preview.grading import (
    Grade,
    Step,
    bloom,
    flattened,
    halftone,
    inked,
    smoothed,
    vignette,
)
from framegate.plugins.preview.motion import Moment
from framegate.plugins.preview.news import NewsBar
from framegate.plugins.preview.particles import Particles, Swarm
from framegate.plugins.preview.seeding import random_for
from framegate.plugins.preview.shake import Shake
from framegate.plugins.preview.stickers import Border, Confetti, Stickers, Viewfinder
from framegate.plugins.preview.texture import Flicker, Grain, LightLeak, Scanlines, SplitColours

Dressing = Callable[[Image.Image, Moment], Image.Image]


@dataclass(frozen=True, slots=True)
class Subject:
    """What a style is made for."""

    width: int
    height: int
    prompt: str
    seed: int


@dataclass(frozen=True, slots=True)
class Style:
    """``grades`` change a picture's look for good; ``dressings`` are laid over each frame and come and go.

    ``retouch`` comes before the grades and is too slow for anything but a single picture.
    ``shows_prompt``: one of the dressings does, so that no caption is needed.
    """

    retouch: tuple[Step, ...] = ()
    grades: tuple[Step, ...] = ()
    dressings: tuple[Dressing, ...] = ()
    shows_prompt: bool = False

    def grade(self, picture: Image.Image) -> Image.Image:
        for step in self.grades:
            picture = step(picture)
        return picture

    def grade_still(self, picture: Image.Image) -> Image.Image:
        for step in self.retouch:
            picture = step(picture)
        return self.grade(picture)

    def dress(self, picture: Image.Image, moment: Moment) -> Image.Image:
        for dressing in self.dressings:
            picture = dressing(picture, moment)
        return picture


class Floating:
    """A swarm as a dressing."""

    def __init__(self, subject: Subject, purpose: str, swarm: Swarm) -> None:
        rng = random_for(purpose, subject.seed)
        self._particles = Particles(rng, subject.width, subject.height, swarm)

    def __call__(self, picture: Image.Image, moment: Moment) -> Image.Image:
        result = picture.copy()
        self._particles.draw(result, moment.seconds, moment.presence)
        return result


def _festive(subject: Subject) -> Style:
    lights = Swarm(
        (hexed("ffd27a"), hexed("ff8a8a"), hexed("8affc8"), hexed("ffb0e8")),
        count=26,
        smallest=0.012,
        largest=0.07,
        velocity=(0.008, 0.01),
        softness=0.2,
        opacity=0.5,
        twinkle=0.7,
    )
    return Style(
        grades=(Grade(hexed("7a5868"), hexed("d8a888"), 0.45, 1.02, 1.08, lift=4).step(), bloom(0.5)),
        dressings=(
            Floating(subject, "party lights", lights),
            Confetti(subject.width, subject.height, subject.seed),
        ),
    )


def _kakalaka(subject: Subject) -> Style:
    return Style(
        grades=(Grade(hexed("3a30c0"), hexed("d8f05a"), 0.75, 1.15, 1.3).step(),),
        dressings=(
            Shake(subject.seed, 0.05, pace=2.2, beat=2.5),
            SplitColours(subject.width, 0.007),
            Stickers(subject.width, subject.height, subject.seed),
        ),
    )


def _news(subject: Subject) -> Style:
    return Style(
        grades=(Grade(hexed("6a7c98"), hexed("a8b8d0"), 0.45, 1.12, 0.84, lift=4).step(),),
        dressings=(NewsBar(subject.prompt, subject.width, subject.height),),
        shows_prompt=True,
    )


def _selfie(subject: Subject) -> Style:
    return Style(
        grades=(Grade(hexed("a08a90"), hexed("e8b8a8"), 0.4, 0.94, 1.1, lift=16).step(), bloom(0.6, 0.035)),
        dressings=(
            Shake(subject.seed, 0.035, pace=0.7),
            Viewfinder(subject.width, subject.height, recording=False),
        ),
    )


def _handheld(subject: Subject) -> Style:
    return Style(
        grades=(Grade(hexed("6a7a80"), hexed("b0a898"), 0.4, 1.08, 0.86).step(),),
        dressings=(
            Shake(subject.seed, 0.06, pace=1.1),
            Grain(subject.width, subject.height, subject.seed, strength=7),
            Viewfinder(subject.width, subject.height, recording=True),
        ),
    )


def _golden(subject: Subject) -> Style:
    dust = Swarm(
        (hexed("fff0c0"), hexed("ffd890")),
        count=34,
        smallest=0.004,
        largest=0.035,
        velocity=(0.014, -0.018),
        sway=0.03,
        softness=0.7,
        opacity=0.6,
        twinkle=0.7,
    )
    return Style(
        grades=(Grade(hexed("9a5a30"), hexed("ffc05a"), 0.6, 1.0, 0.75, lift=2).step(), bloom(0.55, 0.03)),
        dressings=(
            LightLeak(subject.width, subject.height, subject.seed, hexed("ffb648"), 0.6),
            Floating(subject, "golden dust", dust),
        ),
    )


def _anime(subject: Subject) -> Style:
    petals = Swarm(
        (hexed("ffd0de"), hexed("ffe6ee"), hexed("ffb6cc")),
        count=30,
        smallest=0.006,
        largest=0.02,
        velocity=(0.09, 0.07),
        sway=0.05,
        softness=0.35,
        opacity=0.95,
    )
    return Style(
        retouch=(smoothed(5),),
        grades=(
            Grade(hexed("5a74b8"), hexed("f8b8c8"), 0.45, 1.06, 1.2, lift=14).step(),
            inked(0.6),
            flattened(7, 0.45),
            bloom(0.45, 0.03),
        ),
        dressings=(Floating(subject, "petals", petals),),
    )


def _retro(subject: Subject) -> Style:
    return Style(
        grades=(Grade(hexed("6a3ab0"), hexed("ff9ac0"), 0.6, 1.06, 1.0, fade=0.3).step(),),
        dressings=(
            SplitColours(subject.width, 0.0035),
            Grain(subject.width, subject.height, subject.seed, strength=13, size=1.6),
            Scanlines(subject.width, subject.height, subject.seed),
        ),
    )


def _nostalgic(subject: Subject) -> Style:
    return Style(
        grades=(
            Grade(hexed("8a6a48"), hexed("e8c48a"), 0.6, 0.94, 0.22, fade=0.5).step(),
            vignette(subject.width, subject.height, 0.75),
        ),
        dressings=(
            Grain(subject.width, subject.height, subject.seed, strength=12, size=1.3),
            Flicker(subject.seed),
            Border(subject.width, subject.height, hexed("efe6d2"), 0.028, radius=0.03),
        ),
    )


def _comic(subject: Subject) -> Style:
    return Style(
        retouch=(smoothed(3),),
        grades=(
            Grade(contrast=1.15, saturation=1.25, lift=14).step(),
            inked(1.0),
            halftone(subject.width, subject.height, 0.24),
            flattened(5, 0.2),
        ),
        dressings=(Border(subject.width, subject.height, (250, 248, 240), 0.03, line=0.006),),
    )


STYLES: dict[str, Callable[[Subject], Style]] = {
    "festive": _festive,
    "kakalaka": _kakalaka,
    "news": _news,
    "selfie": _selfie,
    "handheld": _handheld,
    "golden": _golden,
    "anime": _anime,
    "retro": _retro,
    "nostalgic": _nostalgic,
    "comic": _comic,
}


def style_for(name: str | None, subject: Subject) -> Style:
    """The style of that name; names that this backend doesn't know, and none, change nothing."""
    make = STYLES.get((name or "").lower())
    return make(subject) if make else Style()
