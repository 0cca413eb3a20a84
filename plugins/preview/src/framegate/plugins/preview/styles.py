"""The styles: what each does to the colours, and what it lays over the frames."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from framegate.plugins.preview.lettering import font_of, write_caption
from framegate.plugins.preview.motion import Moment, Particles, ParticleSpec
from framegate.plugins.preview.pixels import parse_hex_color, random_for, to_mask

_SPARE = 48
"""How much larger than the frame the grain is, so that each frame can take another part of it."""
_SMALLEST = 96
"""Frames whose shorter side is below this have no room for signs and captions."""
_INK, _PAPER, _RED, _NAVY = (16, 12, 22), (246, 240, 224), (206, 26, 38), (14, 26, 58)
_PACES = 2 * math.pi * np.array([0.63, 1.37, 2.9, 5.3])
_SWAYS = np.array([0.5, 0.28, 0.14, 0.08])


class Style(NamedTuple):
    """How strong each filter is; 0 is not at all, but 1 for ``contrast`` and ``saturation``.

    ``tint`` draws shadows and highlights to the two colours of ``tones``, ``fade`` greys both, ``levels`` is
    the number of tones left. ``grain`` and ``lines`` (of a screen) are in tones; ``split`` (of colours),
    ``shake`` and ``border`` are shares of the frame. ``sign`` is written in the upper left corner.
    """

    tones: str = "808080 808080"
    tint: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    fade: float = 0.0
    levels: int = 0
    bloom: float = 0.0
    ink: float = 0.0
    grain: float = 0.0
    lines: float = 0.0
    split: float = 0.0
    shake: float = 0.0
    border: float = 0.0
    sign: str = ""
    particles: tuple[ParticleSpec, ...] = ()


_LIGHTS = ParticleSpec(
    "ffd27a ff8a8a 8affc8 ffb0e8", 26, 0.07, (0.008, 0.01), soft=0.2, opacity=0.5, twinkle=0.7
)
_CONFETTI = ParticleSpec(
    "ff4d6d ffd166 06d6a0 4cc9f0 c77dff fff3b0", 90, 0.014, (0.02, 0.2), soft=0.1, opacity=0.95
)
_NEON = ParticleSpec(
    "ff2bd6 00f0ff faff00 39ff14", 40, 0.05, (0.5, -0.35), soft=0.1, opacity=0.8, twinkle=1.0
)
_GOLD = ParticleSpec("fff0c0 ffd890", 34, 0.035, (0.014, -0.018), soft=0.7, opacity=0.6, twinkle=0.7)
_PETALS = ParticleSpec("ffd0de ffe6ee ffb6cc", 34, 0.02, (0.09, 0.07), soft=0.35, opacity=0.95)

STYLES = {
    "festive": Style("7a5868 d8a888", 0.45, 1.02, 1.08, bloom=0.5, particles=(_LIGHTS, _CONFETTI)),
    "kakalaka": Style(
        "3a30c0 d8f05a", 0.75, 1.15, 1.3, levels=6, split=0.008, shake=0.08, particles=(_NEON,)
    ),
    "news": Style("6a7c98 a8b8d0", 0.45, 1.12, 0.84, sign="LIVE"),
    "selfie": Style("a08a90 e8b8a8", 0.4, 0.94, 1.1, fade=0.15, bloom=0.6, shake=0.035),
    "handheld": Style("6a7a80 b0a898", 0.4, 1.08, 0.86, grain=7, shake=0.06, sign="REC"),
    "golden": Style("9a5a30 ffc05a", 0.6, 1.0, 0.75, bloom=0.75, particles=(_GOLD,)),
    "anime": Style("5a74b8 f8b8c8", 0.45, 1.06, 1.2, levels=8, bloom=0.45, ink=0.6, particles=(_PETALS,)),
    "retro": Style("6a3ab0 ff9ac0", 0.6, 1.06, 1.0, fade=0.3, grain=13, lines=40, split=0.003),
    "nostalgic": Style("8a6a48 e8c48a", 0.6, 0.94, 0.22, fade=0.5, grain=12, border=0.028),
    "comic": Style("305090 f0c890", 0.3, 1.15, 1.5, levels=6, ink=1.0, border=0.02),
}


def mood_for(prompt: str, seed: int) -> Style:
    """Return the light that a prompt puts an existing image into, another one for every seed."""
    rng = random_for("mood", prompt, seed)
    tones = str(rng.choice([style.tones for style in STYLES.values()]))
    return Style(tones, *rng.uniform((0.5, 1.0), (0.8, 1.2)).tolist())


class Look:
    """A style made ready for frames of one size, which may carry the prompt as a caption.

    `grade` changes an image for good; what `apply_overlays` adds to a frame comes and goes with the moment.
    """

    def __init__(self, style: Style, seed: int, size: tuple[int, int], caption: str = "") -> None:
        rng, (width, height) = random_for("look", seed), size
        self._style, self._seed = style, seed
        self._turns = rng.uniform(0.0, 2 * math.pi, (2, 4))
        self._table = _tone_table(style)
        self._pitch = max(2, round(height / 200))
        if style.grain:
            grain = 128.0 + style.grain * rng.standard_normal((height + _SPARE, width + _SPARE))
            grain[:: self._pitch] -= style.lines
            self._grain = to_mask(grain / 255.0).convert("RGB")
        self._particles = [Particles(rng, size, spec) for spec in style.particles]
        self._overlay = _overlay(style, size, caption)

    def grade(self, image: Image.Image) -> Image.Image:
        """Return an image in the style's colours."""
        style = self._style
        if style == Style():
            return image
        source, tones = image, np.arange(256)
        if style.saturation != 1.0:
            grey = (1.0 - style.saturation) * np.array((0.299, 0.587, 0.114, 0.0))
            image = image.convert("RGB", tuple((grey + style.saturation * np.eye(3, 4)).ravel().tolist()))
        image = image.point(self._table)
        if style.ink:
            near, far = (
                source.convert("L").filter(ImageFilter.GaussianBlur(radius)) for radius in (0.8, 2.5)
            )
            table = (np.maximum(tones - 4, 0) * 12 * style.ink).tolist()
            image.paste(_INK, mask=ImageChops.subtract(far, near).point(table))
        if style.bloom:
            table = (np.maximum(tones - 110, 0) * 1.5 * style.bloom).tolist()
            light = image.reduce(4).point(table * 3)
            light = light.filter(ImageFilter.GaussianBlur(max(1.0, min(light.size) * 0.04)))
            image = ImageChops.screen(image, light.resize(image.size, Image.Resampling.BILINEAR))
        return image

    def apply_overlays(self, image: Image.Image, moment: Moment) -> Image.Image:
        """Return a copy of a frame with the style's overlays at that moment."""
        result = self._shake(image, moment)
        if self._style.grain:
            rng = random_for("grain", self._seed, moment.frame)
            left, top = (rng.integers(_SPARE // self._pitch, size=2) * self._pitch).tolist()
            grain = self._grain.crop((left, top, left + image.width, top + image.height))
            result = Image.blend(result, ImageChops.add(result, grain, 1.0, -128), moment.presence)
        for particles in self._particles:
            particles.draw(result, moment.seconds, moment.presence)
        if self._overlay:
            shown = self._overlay.getchannel("A").point([tone * moment.presence for tone in range(256)])
            result.paste(self._overlay, (0, image.height - self._overlay.height), shown)
        return result

    def _shake(self, image: Image.Image, moment: Moment) -> Image.Image:
        """Look at a little less than the whole image, at less of each colour, so that no border shows."""
        reach, split = self._style.shake * moment.presence, self._style.split * moment.presence
        if not reach and not split:
            return image.copy()
        swing = np.sin(self._turns + _PACES * moment.seconds) @ _SWAYS
        left, top = (reach * (0.5 + 0.5 * swing)).tolist()
        (width, height), bands = image.size, list(image.split()) if split else [image]
        for number, band in enumerate(bands):
            start, end = split * number, 1.0 - reach - split * number
            box = (width * (left + start), height * (top + start), width * (left + end), height * (top + end))
            bands[number] = band.resize(image.size, Image.Resampling.BILINEAR, box=box)
        return Image.merge("RGB", bands) if split else bands[0]


def _tone_table(style: Style) -> list[int]:
    """Return what every tone of red, green and blue becomes."""
    tones = np.arange(256.0)[:, None]
    shadows, highlights = (np.array(parse_hex_color(code)) for code in style.tones.split())
    tinted = (shadows + (highlights - shadows) * tones / 255.0 - 128.0) * style.tint
    curved = (tones - 128.0) * style.contrast + 128.0 + tinted
    curved = np.clip(curved * (1.0 - 0.3 * style.fade) + 38.0 * style.fade, 0.0, 255.0)
    if style.levels:
        steps = curved / 255.0 * (style.levels - 1)
        steps = np.floor(steps) + np.clip((steps % 1.0 - 0.5) / 0.35 + 0.5, 0.0, 1.0)
        curved = steps * 255.0 / (style.levels - 1)
    table: list[int] = np.round(curved).astype(int).T.ravel().tolist()
    return table


def _overlay(style: Style, size: tuple[int, int], caption: str) -> Image.Image | None:
    """Return the style's sign and border and the caption, from the uppermost of them to the frame's foot."""
    overlay, (width, height) = Image.new("RGBA", size, (255, 255, 255, 0)), size
    if min(size) < _SMALLEST:
        return None
    write_caption(overlay, caption, _NAVY if style.sign == "LIVE" else None)
    draw, letter = ImageDraw.Draw(overlay), max(9, round(min(size) * 0.042))
    for color, share in ((_INK, 1.3), (_PAPER, 1.0)) if style.border else ():
        thick = round(min(size) * style.border * share)
        draw.rectangle((0, 0, width - 1, height - 1), outline=color, width=thick)
    if style.sign:
        draw.ellipse((0.8 * letter, 0.8 * letter, 1.6 * letter, 1.6 * letter), fill=_RED)
        place, font = (2.0 * letter, 1.2 * letter), font_of(letter)
        draw.text(place, style.sign, fill="white", font=font, anchor="lm")
    box = overlay.getbbox()
    return overlay.crop((0, box[1], *size)) if box else None
