"""Convert images of any mode to 8-bit sRGB."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# Pillow has no types for the profiles that ImageCms makes.

from io import BytesIO

import numpy as np
from PIL import Image, ImageCms


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB in sRGB; what is transparent becomes white."""
    profile = image.info.get("icc_profile")
    image = _eight_bit(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    if image.mode == "LAB":
        return _transformed(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if isinstance(profile, bytes) and profile:
        try:
            return _transformed(image, ImageCms.ImageCmsProfile(BytesIO(profile)))
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a profile that is broken, or made for another mode, is ignored
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Convert greyscale of 16 or 32 bits, or of floats, to 8 bits; Pillow itself would clip it."""
    if not (image.mode == "F" or image.mode.startswith("I")):
        return image
    values = np.nan_to_num(np.asarray(image).astype(np.float32), posinf=0.0, neginf=0.0)
    if image.mode.startswith("I;16"):
        white = 65535.0
    elif image.mode == "I":
        white = next((top for top in (255.0, 65535.0) if values.max() <= top), float(values.max()))
    else:
        white = next((top for top in (1.0, 255.0, 65535.0) if values.max() <= top), float(values.max()))
    return Image.fromarray((values.clip(0.0, white) / white * 255.0).round().astype(np.uint8))


def _transformed(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    modes = {"GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
    mode = modes.get(str(getattr(profile.profile, "xcolor_space", "")).strip(), "RGB")
    if mode == "RGB":
        image = image.convert("RGB")
    elif mode != image.mode:
        raise ValueError("the profile is for images of another mode")
    transform = ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        raise ValueError("the image can't be converted")
    return converted
