"""The nodes of an LTX-2 graph, with the names, inputs and limits of the real ones.

They need the model files to be there, as the real ones do, but make their video from the image alone: it
drifts sideways under the seed's noise, and hums.
"""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from PIL import Image

from tests.support.comfyui.fake_comfyui.nodes.declaration import (
    Input,
    NodeResult,
    Run,
    boolean,
    combo,
    integer,
    link,
    model_file,
    node,
    number,
    old_style_combo,
    optional,
    seed,
    text,
)
from tests.support.comfyui.fake_comfyui.nodes.images import Images, resized, with_noise
from tests.support.comfyui.fake_comfyui.nodes.videos import Audio

SCALE = 32
"""Pixels of a latent's cell."""


class Latent(Struct, frozen=True):
    """``width`` and ``height`` in pixels. ``tone`` is the sound's length in seconds."""

    width: int = 0
    height: int = 0
    length: int = 0
    image: Images | None = None
    seed: int | None = None
    tone: float = 0.0


@node("CheckpointLoaderSimple", "MODEL", "CLIP", "VAE", v3=False, ckpt_name=model_file("checkpoints"))
def load_checkpoint(run: Run, ckpt_name: str) -> NodeResult:
    return ckpt_name, ckpt_name, ckpt_name


@node("LTXVAudioVAELoader", "VAE", ckpt_name=model_file("vae", "checkpoints"))
def load_audio_vae(run: Run, ckpt_name: str) -> NodeResult:
    return (ckpt_name,)


@node(
    "LTXAVTextEncoderLoader",
    "CLIP",
    text_encoder=model_file("text_encoders"),
    ckpt_name=model_file("checkpoints"),
    device=combo("default", "cpu"),
)
def load_text_encoder(run: Run, text_encoder: str, ckpt_name: str, device: str) -> NodeResult:
    return (text_encoder,)


@node(
    "LoraLoaderModelOnly",
    "MODEL",
    v3=False,
    model=link("MODEL"),
    lora_name=model_file("loras"),
    strength_model=number(1.0, -100.0, 100.0),
)
def load_lora(run: Run, model: str, lora_name: str, strength_model: float) -> NodeResult:
    return (model,)


@node("LatentUpscaleModelLoader", "LATENT_UPSCALE_MODEL", model_name=model_file("latent_upscale_models"))
def load_upscaler(run: Run, model_name: str) -> NodeResult:
    return (model_name,)


@node("CLIPTextEncode", "CONDITIONING", v3=False, text=text(multiline=True), clip=link("CLIP"))
def encode_text(run: Run, text: str, clip: str) -> NodeResult:
    return (text,)


@node(
    "LTXVConditioning",
    "CONDITIONING",
    "CONDITIONING",
    positive=link("CONDITIONING"),
    negative=link("CONDITIONING"),
    frame_rate=number(25.0, 0.0, 1000.0),
)
def condition(run: Run, positive: str, negative: str, frame_rate: float) -> NodeResult:
    return positive, negative


@node(
    "EmptyLTXVLatentVideo",
    "LATENT",
    width=integer(768, 64, 16384, 32),
    height=integer(512, 64, 16384, 32),
    length=integer(97, 1, 16384, 8),
    batch_size=integer(1, 1, 4096),
)
def empty_latent(run: Run, width: int, height: int, length: int, batch_size: int) -> NodeResult:
    cells = width // SCALE * SCALE, height // SCALE * SCALE
    return (Latent(*cells, (length - 1) // 8 * 8 + 1),)


@node("LTXVPreprocess", "IMAGE", image=link("IMAGE"), img_compression=integer(35, 0, 100))
def preprocess(run: Run, image: Images, img_compression: int) -> NodeResult:
    return (image,)


@node(
    "LTXVImgToVideoInplace",
    "LATENT",
    vae=link("VAE"),
    image=link("IMAGE"),
    latent=link("LATENT"),
    strength=number(1.0, 0.0, 1.0),
    bypass=boolean(default=False),
)
def put_in_place(
    run: Run,
    vae: str,
    image: Images,
    latent: Latent,
    strength: float,
    bypass: bool,  # called by name
) -> NodeResult:
    return (latent if bypass else replace(latent, image=image),)


@node(
    "LTXVEmptyLatentAudio",
    "LATENT",
    frames_number=integer(97, 1, 1000),
    frame_rate=Input("FLOAT,INT", {"default": 25.0, "min": 1.0, "max": 1000.0}),
    batch_size=integer(1, 1, 4096),
    audio_vae=link("VAE"),
)
def empty_sound(
    run: Run, frames_number: int, frame_rate: float, batch_size: int, audio_vae: str
) -> NodeResult:
    return (Latent(tone=frames_number / frame_rate),)


@node("LTXVConcatAVLatent", "LATENT", video_latent=link("LATENT"), audio_latent=link("LATENT"))
def concat(run: Run, video_latent: Latent, audio_latent: Latent) -> NodeResult:
    return (replace(video_latent, tone=audio_latent.tone),)


@node("LTXVSeparateAVLatent", "LATENT", "LATENT", av_latent=link("LATENT"))
def separate(run: Run, av_latent: Latent) -> NodeResult:
    return replace(av_latent, tone=0.0), Latent(tone=av_latent.tone)


@node("RandomNoise", "NOISE", noise_seed=seed())
def random_noise(run: Run, noise_seed: int) -> NodeResult:
    return (noise_seed,)


@node("KSamplerSelect", "SAMPLER", sampler_name=old_style_combo("euler", "gradient_estimation", "lcm"))
def select_sampler(run: Run, sampler_name: str) -> NodeResult:
    return (sampler_name,)


@node(
    "LTXVScheduler",
    "SIGMAS",
    steps=integer(20, 1, 10000),
    max_shift=number(2.05, 0.0, 100.0),
    base_shift=number(0.95, 0.0, 100.0),
    stretch=boolean(default=True),
    terminal=number(0.1, 0.0, 0.99),
    latent=optional(link("LATENT")),
)
def schedule(run: Run, steps: int, **shape: object) -> NodeResult:
    return (steps,)


@node("ManualSigmas", "SIGMAS", sigmas=text("1, 0.5"))
def manual_sigmas(run: Run, sigmas: str) -> NodeResult:
    return (sigmas.count(","),)


@node(
    "CFGGuider",
    "GUIDER",
    model=link("MODEL"),
    positive=link("CONDITIONING"),
    negative=link("CONDITIONING"),
    cfg=number(8.0, 0.0, 100.0, 0.1),
)
def guide(run: Run, model: str, positive: str, negative: str, cfg: float) -> NodeResult:
    return (positive,)


@node(
    "SamplerCustomAdvanced",
    "LATENT",
    "LATENT",
    noise=link("NOISE"),
    guider=link("GUIDER"),
    sampler=link("SAMPLER"),
    sigmas=link("SIGMAS"),
    latent_image=link("LATENT"),
)
def sample(run: Run, noise: int, guider: str, sampler: str, sigmas: int, latent_image: Latent) -> NodeResult:
    preview = Image.new("RGB", (64, 64), (noise % 256, 64, 128))
    for done in range(1, sigmas + 1):
        run.step(done, sigmas, preview)
    made = replace(latent_image, seed=noise if latent_image.seed is None else latent_image.seed)
    return made, made


@node(
    "LTXVCropGuides",
    "CONDITIONING",
    "CONDITIONING",
    "LATENT",
    positive=link("CONDITIONING"),
    negative=link("CONDITIONING"),
    latent=link("LATENT"),
)
def crop_guides(run: Run, positive: str, negative: str, latent: Latent) -> NodeResult:
    return positive, negative, latent


@node(
    "LTXVLatentUpsampler",
    "LATENT",
    samples=link("LATENT"),
    upscale_model=link("LATENT_UPSCALE_MODEL"),
    vae=link("VAE"),
)
def upsample(run: Run, samples: Latent, upscale_model: str, vae: str) -> NodeResult:
    return (replace(samples, width=samples.width * 2, height=samples.height * 2),)


@node(
    "VAEDecodeTiled",
    "IMAGE",
    v3=False,
    samples=link("LATENT"),
    vae=link("VAE"),
    tile_size=integer(512, 64, 4096, 32),
    overlap=integer(64, 0, 4096, 32),
    temporal_size=integer(64, 8, 4096, 4),
    temporal_overlap=integer(8, 4, 4096, 4),
)
def decode(run: Run, samples: Latent, vae: str, **tiling: int) -> NodeResult:
    image = samples.image
    if image is None:
        image = np.full((1, samples.height, samples.width, 3), 128, np.uint8)
    first = with_noise(resized(image[:1], samples.width, samples.height, "lanczos"), samples.seed or 0, 0.05)
    return (np.stack([np.roll(first[0], index // 8, axis=1) for index in range(samples.length)]),)


@node("LTXVAudioVAEDecode", "AUDIO", samples=link("LATENT"), audio_vae=link("VAE"))
def decode_sound(run: Run, samples: Latent, audio_vae: str) -> NodeResult:
    rate = 24000
    tone = np.sin(np.arange(round(samples.tone * rate)) * (2 * np.pi * 110 / rate)).astype(np.float32) * 0.1
    return (Audio(np.stack([tone, tone]), rate),)
