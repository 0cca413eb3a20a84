"""Workflow files as users write them, with markers of every form in their titles."""

import json
from pathlib import Path

from tests.support.comfyui.graphs import Graph, node

# In the style of ComfyKit's own examples: a field after each name, "!" if it is required, "~" for files.
KIT: Graph = {
    "10": node("LoadImage", "$image.~image!:The first frame", image="example.png"),
    "11": node(
        "ImageScale",
        "Size, $width.width, $height.height",
        image=["10", 0],
        upscale_method="lanczos",
        width=160,
        height=96,
        crop="center",
    ),
    "92:3": node("RepeatImageBatch", "$num_frames.amount", image=["11", 0], amount=9),
    "13": node("ImageAddNoise", "$seed.seed, $strength.strength", image=["92:3", 0], seed=7, strength=0.05),
    "14": node("CreateVideo", "$fps.fps:Frames per second", images=["13", 0], fps=12.0),
    "15": node(
        "SaveVideo", "$output.video", video=["14", 0], filename_prefix="kit", format="mp4", codec="h264"
    ),
    "16": node("PrimitiveStringMultiline", "$prompt.value!:What to show", value="a default prompt"),
    "17": node("PreviewAny", "$output.echo", source=["16", 0]),
}

# An image from text alone: no request can set its colour, so the graph's own is used.
TEXT_TO_IMAGE: Graph = {
    "1": node(
        "EmptyImage", "$param.width, $param.height", width=160, height=96, batch_size=1, color=0x3366CC
    ),
    "2": node("ImageAddNoise", "$param.seed", image=["1", 0], seed=0, strength=0.1),
    "3": node("SaveImage", "$output.image", images=["2", 0], filename_prefix="image"),
    "4": node("PrimitiveString", "$param.text", value=""),
    "5": node("PreviewAny", "Echo", source=["4", 0]),
}

# An image from text with a sampler, as most do it: ComfyUI's own example.
SAMPLED_IMAGE: Graph = {
    "3": node(
        "KSampler",
        "$param.seed, $param.steps",
        model=["4", 0],
        seed=0,
        steps=20,
        cfg=8.0,
        sampler_name="euler",
        scheduler="normal",
        positive=["6", 0],
        negative=["7", 0],
        latent_image=["5", 0],
        denoise=1.0,
    ),
    "4": node("CheckpointLoaderSimple", ckpt_name="still.safetensors"),
    "5": node("EmptyLatentImage", "$param.width, $param.height", width=512, height=512, batch_size=1),
    "6": node("CLIPTextEncode", "$param.text", text="", clip=["4", 1]),
    "7": node("CLIPTextEncode", "$param.negative_text", text="blurry", clip=["4", 1]),
    "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
    "9": node("SaveImage", "$output.image", images=["8", 0], filename_prefix="ComfyUI"),
}

# The input video, with noise.
VIDEO_TO_VIDEO: Graph = {
    "1": node("LoadVideo", "$param.video", file="none.mp4"),
    "2": node("GetVideoComponents", "Frames", video=["1", 0]),
    "3": node("ImageAddNoise", "$param.seed", image=["2", 0], seed=0, strength=0.02),
    "4": node("CreateVideo", "Video", images=["3", 0], fps=["2", 2]),
    "5": node("SaveVideo", "$output.video", video=["4", 0], filename_prefix="v", format="auto", codec="auto"),
}

# What third-party and newer nodes do differently: files under another key, dots in names.
VHS: Graph = {
    **{node_id: each for node_id, each in KIT.items() if node_id not in {"14", "15"}},
    "11": node(
        "ResizeImageMaskNode",
        "$width.resize_type.width, $height.resize_type.height",
        input=["10", 0],
        resize_type="scale dimensions",
        scale_method="lanczos",
        **{"resize_type.width": 160, "resize_type.height": 96},
    ),
    "15": node(
        "VHS_VideoCombine",
        "$output.video, $fps.frame_rate",
        images=["13", 0],
        frame_rate=12,
        loop_count=0,
        filename_prefix="vhs",
        format="video/h264-mp4",
        pingpong=False,
        save_output=True,
    ),
}
WEBM: Graph = {
    **{node_id: each for node_id, each in KIT.items() if node_id not in {"14", "15"}},
    "15": node(
        "SaveWEBM", "$output.video", images=["13", 0], filename_prefix="w", codec="vp9", fps=12.0, crf=32.0
    ),
}
ANIMATED: Graph = {
    **WEBM,
    "15": node(
        "SaveAnimatedWEBP",
        "$output.video",
        images=["13", 0],
        filename_prefix="a",
        fps=12.0,
        lossless=True,
        quality=80,
        method="default",
    ),
}
SEVERAL_IMAGES: Graph = {
    **TEXT_TO_IMAGE,
    "1": node(
        "EmptyImage",
        "$param.width, $param.height, $param.num_outputs",
        width=160,
        height=96,
        batch_size=1,
        color=0x3366CC,
    ),
}

UI_FORMAT = {
    "last_node_id": 2,
    "last_link_id": 1,
    "nodes": [{"id": 1, "type": "LoadImage", "pos": [0, 0], "widgets_values": ["example.png", "image"]}],
    "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    "version": 0.4,
}

OPERATOR_WORKFLOWS = {
    "kit": KIT,
    "text_to_image": TEXT_TO_IMAGE,
    "several_images": SEVERAL_IMAGES,
    "still": SAMPLED_IMAGE,
    "vhs": VHS,
    "webm": WEBM,
    "animated": ANIMATED,
}

STILL_CHECKPOINT = {"checkpoints": "still.safetensors"}


def write(folder: Path, **workflows: object) -> Path:
    """Write a folder of workflow files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, graph in workflows.items():
        (folder / f"{name}.json").write_text(json.dumps(graph, indent=2))
    return folder
