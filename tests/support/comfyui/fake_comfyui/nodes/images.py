"""Nodes that make and change images. A batch is uint8, images × height × width × RGB."""

import hashlib
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.Image import Resampling
from PIL.PngImagePlugin import PngInfo

from tests.support.comfyui.fake_comfyui.folders import Folders
from tests.support.comfyui.fake_comfyui.nodes.declaration import (
    DYNAMIC,
    Input,
    NodeResult,
    Run,
    UiOutput,
    integer,
    link,
    metadata_text,
    node,
    number,
    old_style_combo,
    seed,
    text,
    uploaded,
)

Images: TypeAlias = NDArray[np.uint8]

NOISE_PERIOD = 9

METHODS = {
    "nearest-exact": Resampling.NEAREST,
    "bilinear": Resampling.BILINEAR,
    "area": Resampling.BOX,
    "bicubic": Resampling.BICUBIC,
    "lanczos": Resampling.LANCZOS,
}


def resized(images: Images, width: int, height: int, method: str, crop: str = "disabled") -> Images:
    made: list[NDArray[np.uint8]] = []
    for each in images:
        image = Image.fromarray(each)
        if crop == "center":
            image = ImageOps.fit(image, (width, height), METHODS[method])
        else:
            image = image.resize((width, height), METHODS[method])
        made.append(np.asarray(image))
    return np.stack(made)


def with_noise(images: Images, seed: int, strength: float) -> Images:
    """Noise that repeats after `NOISE_PERIOD` images, as making it takes most of the fake's time."""
    shape = (min(len(images), NOISE_PERIOD), *images.shape[1:])
    noise = np.random.default_rng(seed).standard_normal(shape, np.float32) * (strength * 255)
    return np.stack(
        [
            np.clip(image + noise[index % len(noise)], 0, 255).astype(np.uint8)
            for index, image in enumerate(images)
        ]
    )


def find_missing_image(folders: Folders, image: str) -> str | None:
    return None if folders.input_file(image).is_file() else f"Invalid image file: {image}"


def content(folders: Folders, image: str) -> str:
    return hashlib.sha256(folders.input_file(image).read_bytes()).hexdigest()


@node(
    "LoadImage",
    "IMAGE",
    "MASK",
    v3=False,
    check=find_missing_image,
    fingerprint=content,
    image=uploaded("image_upload"),
)
def load_image(run: Run, image: str) -> NodeResult:
    with Image.open(run.folders.input_file(image)) as opened:
        upright = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    return upright[None], np.zeros(upright.shape[:2], np.uint8)


@node(
    "ImageScale",
    "IMAGE",
    v3=False,
    image=link("IMAGE"),
    upscale_method=old_style_combo(*METHODS),
    width=integer(512, 0, 16384),
    height=integer(512, 0, 16384),
    crop=old_style_combo("disabled", "center"),
)
def image_scale(
    run: Run, image: Images, upscale_method: str, width: int, height: int, crop: str
) -> NodeResult:
    return (resized(image, width, height, upscale_method, crop),)


@node(
    "ImageScaleBy",
    "IMAGE",
    v3=False,
    image=link("IMAGE"),
    upscale_method=old_style_combo(*METHODS),
    scale_by=number(1.0, 0.01, 8.0),
)
def image_scale_by(run: Run, image: Images, upscale_method: str, scale_by: float) -> NodeResult:
    height, width = image.shape[1:3]
    return (resized(image, round(width * scale_by), round(height * scale_by), upscale_method),)


@node("GetImageSize", "INT", "INT", "INT", image=link("IMAGE"))
def get_image_size(run: Run, image: Images) -> NodeResult:
    count, height, width = image.shape[:3]
    return width, height, count


@node(
    "ResizeImageMaskNode",
    "IMAGE",
    input=link("IMAGE,MASK"),
    resize_type=Input(
        DYNAMIC,
        {
            "options": [
                {
                    "key": "scale dimensions",
                    "inputs": {
                        "required": {
                            "width": ["INT", {"default": 512, "min": 0, "max": 16384}],
                            "height": ["INT", {"default": 512, "min": 0, "max": 16384}],
                        }
                    },
                },
                {
                    "key": "scale longer dimension",
                    "inputs": {
                        "required": {"longer_size": ["INT", {"default": 512, "min": 0, "max": 16384}]}
                    },
                },
            ]
        },
    ),
    scale_method=old_style_combo(*METHODS),
)
def resize_image(
    run: Run,
    input: Images,  # noqa: A002 # the input's name
    resize_type: str,
    scale_method: str,
    **sizes: int,
) -> NodeResult:
    height, width = input.shape[1:3]
    if resize_type == "scale dimensions":
        size = sizes["resize_type.width"], sizes["resize_type.height"]
    else:
        scale = sizes["resize_type.longer_size"] / max(width, height)
        size = round(width * scale), round(height * scale)
    return (resized(input, *size, scale_method),)


@node("ResizeImagesByLongerEdge", "IMAGE", images=link("IMAGE"), longer_edge=integer(1024, 1, 8192))
def resize_by_longer_edge(run: Run, images: Images, longer_edge: int) -> NodeResult:
    height, width = images.shape[1:3]
    scale = longer_edge / max(width, height)
    return (resized(images, round(width * scale), round(height * scale), "lanczos"),)


@node("RepeatImageBatch", "IMAGE", image=link("IMAGE"), amount=integer(1, 1, 4096))
def repeat_image_batch(run: Run, image: Images, amount: int) -> NodeResult:
    return (np.repeat(image, amount, axis=0),)


@node("ImageAddNoise", "IMAGE", image=link("IMAGE"), seed=seed(), strength=number(0.5, 0.0, 1.0))
def image_add_noise(run: Run, image: Images, seed: int, strength: float) -> NodeResult:
    return (with_noise(image, seed, strength),)


@node(
    "EmptyImage",
    "IMAGE",
    v3=False,
    width=integer(512, 1, 16384),
    height=integer(512, 1, 16384),
    batch_size=integer(1, 1, 4096),
    color=integer(0, 0, 0xFFFFFF),
)
def empty_image(run: Run, width: int, height: int, batch_size: int, color: int) -> NodeResult:
    colour = np.frombuffer(color.to_bytes(3), np.uint8)
    return (np.broadcast_to(colour, (batch_size, height, width, 3)).copy(),)


def saved(run: Run, kind: str, images: Images, prefix: str) -> NodeResult:
    stored: list[dict[str, str]] = []
    for each in images:
        path, names = run.folders.new_file(kind, prefix, "png")
        info = PngInfo()
        info.add_text("prompt", metadata_text(run.prompt))
        Image.fromarray(each).save(path, pnginfo=info, compress_level=4)
        stored.append(names)
    return UiOutput({"images": stored})


@node("SaveImage", output=True, v3=False, images=link("IMAGE"), filename_prefix=text("ComfyUI"))
def save_image(run: Run, images: Images, filename_prefix: str) -> NodeResult:
    return saved(run, "output", images, filename_prefix)


@node("PreviewImage", output=True, v3=False, images=link("IMAGE"))
def preview_image(run: Run, images: Images) -> NodeResult:
    return saved(run, "temp", images, "ComfyUI_temp")
