"""Render what the preview backend can do into one image: ``python plugins/preview/contact_sheet.py``."""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from framegate.core.testing import RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.preview.backend import PreviewBackend
from framegate.plugins.preview.styles import STYLES

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WIDTH, HEIGHT = 832, 480
COLUMNS, GAP, HEADING = 5, 6, 30
TILE_WIDTH = 300
TILE_HEIGHT = round(TILE_WIDTH * HEIGHT / WIDTH)
PAPER, INK = (17, 19, 24), (222, 226, 234)

PROMPTS = (
    "A small boat drifts over the sea at sunset",
    "Mist lifts from a mountain valley at dawn",
    "A city by the river at night",
    "A ringed planet in deep space",
    "First snow falls on the forest",
)


def draw_tile(task: Task, prompt: str, *, at: float, style: str | None = None) -> Image.Image:
    """Draw the frame at ``at`` (0…1) of a video of four seconds."""
    shot = Shot(
        task=task,
        prompt=prompt,
        width=WIDTH,
        height=HEIGHT,
        seed=7,
        num_inference_steps=4,
        guidance_scale=5.0,
        num_frames=96,
        fps=24.0,
        style=style,
    )
    number = round(at * (shot.num_frames - 1))
    context = RecordingContext(IMAGES, image=IMAGES / "photo.jpg")
    pixels = next(islice(PreviewBackend().generate(shot, context).frames, number, None))
    return Image.fromarray(pixels).resize((TILE_WIDTH, TILE_HEIGHT), Image.Resampling.LANCZOS)


def draw_rows() -> Iterator[tuple[str, list[Image.Image]]]:
    """Yield the sheet's rows: a heading and five tiles."""
    scenes = [draw_tile(Task.TEXT_TO_VIDEO, prompt, at=0.45) for prompt in PROMPTS]
    yield "text to video: five prompts", scenes
    times = (0.0, 0.25, 0.5, 0.75, 1.0)
    for source, task in (("one prompt", Task.TEXT_TO_VIDEO), ("one photo", Task.IMAGE_TO_VIDEO)):
        tiles = [draw_tile(task, PROMPTS[1], at=at) for at in times]
        yield f"{task.replace('-', ' ')}: {source} over four seconds", tiles
    names = list(STYLES)
    for start in range(0, len(names), COLUMNS):
        part = names[start : start + COLUMNS]
        tiles = [draw_tile(Task.IMAGE_TO_VIDEO, "A fresh cup of coffee", at=0.4, style=name) for name in part]
        yield "styles: " + ", ".join(part), tiles


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", nargs="?", type=Path, default=IMAGES / "preview-contact-sheet.jpg")
    output: Path = parser.parse_args().output
    made = list(draw_rows())
    pitch = HEADING + TILE_HEIGHT + GAP
    sheet = Image.new("RGB", (GAP + COLUMNS * (TILE_WIDTH + GAP), len(made) * pitch + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, (heading, tiles) in enumerate(made):
        top = row * pitch
        middle = top + HEADING / 2 + GAP / 2
        draw.text((GAP * 2, middle), heading, fill=INK, font=ImageFont.load_default(16), anchor="lm")
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (GAP + column * (TILE_WIDTH + GAP), top + HEADING + GAP))
    sheet.save(output, quality=86, optimize=True, progressive=True)


if __name__ == "__main__":
    main()
