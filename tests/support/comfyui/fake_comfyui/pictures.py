"""Nodes that make and change pictures. A batch is uint8, pictures × height × width × RGB."""

import hashlib
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.Image import Resampling
from PIL.PngImagePlugin import PngInfo

from tests.support.comfyui.fake_comfyui.declaring import (
    DYNAMIC,
    Input,
    Made,
    Run,
    Shown,
    link,
    node,
    number,
    old_combo,
    seed,
    text,
    uploaded,
    whole,
)
from tests.support.comfyui.fake_comfyui.folders import Folders
from tests.support.comfyui.fake_comfyui.metadata import as_text

Pictures: TypeAlias = NDArray[np.uint8]

NOISE_PERIOD = 9

METHODS = {
    "nearest-exact": Resampling.NEAREST,
    "bilinear": Resampling.BILINEAR,
    "area": Resampling.BOX,
    "bicubic": Resampling.BICUBIC,
    "lanczos": Resampling.LANCZOS,
}


def resized(pictures: Pictures, width: int, height: int, method: str, crop: str = "disabled") -> Pictures:
    made: list[NDArray[np.uint8]] = []
    for each in pictures:
        picture = Image.fromarray(each)
        if crop == "center":
            picture = ImageOps.fit(picture, (width, height), METHODS[method])
        else:
            picture = picture.resize((width, height), METHODS[method])
        made.append(np.asarray(picture))
    return np.stack(made)


def with_noise(pictures: Pictures, seed: int, strength: float) -> Pictures:
    """Noise that repeats after `NOISE_PERIOD` images, as making it takes most of the fake's time."""
    shape = (min(len(pictures), NOISE_PERIOD), *pictures.shape[1:])
    noise = np.random.default_rng(seed).standard_normal(shape, np.float32) * (strength * 255)
    return np.stack(
        [
            np.clip(picture + noise[index % len(noise)], 0, 255).astype(np.uint8)
            for index, picture in enumerate(pictures)
        ]
    )


def no_such_file(folders: Folders, image: str) -> str | None:
    return None if folders.input_file(image).is_file() else f"Invalid image file: {image}"


def content(folders: Folders, image: str) -> str:
    return hashlib.sha256(folders.input_file(image).read_bytes()).hexdigest()


@node(
    "LoadImage",
    "IMAGE",
    "MASK",
    v3=False,
    check=no_such_file,
    fingerprint=content,
    image=uploaded("image_upload"),
)
def load_image(run: Run, image: str) -> Made:
    with Image.open(run.folders.input_file(image)) as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    return upright[None], np.zeros(upright.shape[:2], np.uint8)


@node(
    "ImageScale",
    "IMAGE",
    v3=False,
    image=link("IMAGE"),
    upscale_method=old_combo(*METHODS),
    width=whole(512, 0, 16384),
    height=whole(512, 0, 16384),
    crop=old_combo("disabled", "center"),
)
def image_scale(run: Run, image: Pictures, upscale_method: str, width: int, height: int, crop: str) -> Made:
    return (resized(image, width, height, upscale_method, crop),)


@node(
    "ImageScaleBy",
    "IMAGE",
    v3=False,
    image=link("IMAGE"),
    upscale_method=old_combo(*METHODS),
    scale_by=number(1.0, 0.01, 8.0),
)
def image_scale_by(run: Run, image: Pictures, upscale_method: str, scale_by: float) -> Made:
    height, width = image.shape[1:3]
    return (resized(image, round(width * scale_by), round(height * scale_by), upscale_method),)


@node("GetImageSize", "INT", "INT", "INT", image=link("IMAGE"))
def get_image_size(run: Run, image: Pictures) -> Made:
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
    scale_method=old_combo(*METHODS),
)
def resize_image(
    run: Run,
    input: Pictures,  # noqa: A002 # the input's name
    resize_type: str,
    scale_method: str,
    **sizes: int,
) -> Made:
    height, width = input.shape[1:3]
    if resize_type == "scale dimensions":
        size = sizes["resize_type.width"], sizes["resize_type.height"]
    else:
        scale = sizes["resize_type.longer_size"] / max(width, height)
        size = round(width * scale), round(height * scale)
    return (resized(input, *size, scale_method),)


@node("ResizeImagesByLongerEdge", "IMAGE", images=link("IMAGE"), longer_edge=whole(1024, 1, 8192))
def resize_by_longer_edge(run: Run, images: Pictures, longer_edge: int) -> Made:
    height, width = images.shape[1:3]
    scale = longer_edge / max(width, height)
    return (resized(images, round(width * scale), round(height * scale), "lanczos"),)


@node("RepeatImageBatch", "IMAGE", image=link("IMAGE"), amount=whole(1, 1, 4096))
def repeat_image_batch(run: Run, image: Pictures, amount: int) -> Made:
    return (np.repeat(image, amount, axis=0),)


@node("ImageAddNoise", "IMAGE", image=link("IMAGE"), seed=seed(), strength=number(0.5, 0.0, 1.0))
def image_add_noise(run: Run, image: Pictures, seed: int, strength: float) -> Made:
    return (with_noise(image, seed, strength),)


@node(
    "EmptyImage",
    "IMAGE",
    v3=False,
    width=whole(512, 1, 16384),
    height=whole(512, 1, 16384),
    batch_size=whole(1, 1, 4096),
    color=whole(0, 0, 0xFFFFFF),
)
def empty_image(run: Run, width: int, height: int, batch_size: int, color: int) -> Made:
    colour = np.frombuffer(color.to_bytes(3), np.uint8)
    return (np.broadcast_to(colour, (batch_size, height, width, 3)).copy(),)


def saved(run: Run, kind: str, images: Pictures, prefix: str) -> Made:
    told: list[dict[str, str]] = []
    for each in images:
        path, names = run.folders.new_file(kind, prefix, "png")
        info = PngInfo()
        info.add_text("prompt", as_text(run.prompt))
        Image.fromarray(each).save(path, pnginfo=info, compress_level=4)
        told.append(names)
    return Shown({"images": told})


@node("SaveImage", output=True, v3=False, images=link("IMAGE"), filename_prefix=text("ComfyUI"))
def save_image(run: Run, images: Pictures, filename_prefix: str) -> Made:
    return saved(run, "output", images, filename_prefix)


@node("PreviewImage", output=True, v3=False, images=link("IMAGE"))
def preview_image(run: Run, images: Pictures) -> Made:
    return saved(run, "temp", images, "ComfyUI_temp")
