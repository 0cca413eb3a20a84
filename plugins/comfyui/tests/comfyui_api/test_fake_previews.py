"""The fake sends previews as ComfyUI 0.3.64 does with ``--preview-method latent2rgb``."""

import io

import pytest
from PIL import Image

from framegate.plugins.comfyui.execution.previews import CLIENT_FEATURES
from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.graphs import with_inputs
from tests.support.comfyui.serving import StartComfyUI
from tests.support.comfyui.workflows import SAMPLED_IMAGE


@pytest.mark.parametrize(
    ("features", "step"),
    [
        (None, ["progress_state", "progress", 1]),
        (CLIENT_FEATURES, ["progress_state", 4, "progress"]),
    ],
)
async def test_messages_around_a_preview(
    start_comfyui: StartComfyUI, features: dict[str, bool] | None, step: list[str | int]
) -> None:
    """A sampler of two steps."""
    fake = start_comfyui(preview_method="latent2rgb")
    fake.install({"checkpoints": "still.safetensors"})
    graph = with_inputs(SAMPLED_IMAGE, "3", steps=2)
    messages = await ComfyUIClient(fake.url).watch(graph, features)
    types = [each[3] if isinstance(each, bytes) else each["type"] for each in messages]
    start = types.index("progress")
    while types[start - 1] != "executing":
        start -= 1
    assert types[start : start + 6] == step * 2
    for preview in (each for each in messages if isinstance(each, bytes)):
        offset = 8 if features is None else 8 + int.from_bytes(preview[4:8], "big")
        with Image.open(io.BytesIO(preview[offset:])) as image:
            assert (image.format, image.size) == ("JPEG", (512, 512))  # small ones are enlarged
