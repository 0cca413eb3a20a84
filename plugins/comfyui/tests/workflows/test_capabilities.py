"""What models promise, read off their graphs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from framegate.core.fitting import fit
from framegate.core.models import ModelSpec, Range
from framegate.core.types import GenerationRequest, MediaKind, MediaRef, Task
from framegate.plugins.comfyui.workflows.capabilities import build_model_spec
from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.library import SHIPPED_FOLDER
from framegate.plugins.comfyui.workflows.workflow import parse_workflow
from tests.support.comfyui.graphs import node, noisy_video, parsed


def spec(graph: Mapping[str, Any]) -> ModelSpec:
    return build_model_spec(parsed(graph))


def shipped(name: str) -> ModelSpec:
    return build_model_spec(parse_workflow(name, (SHIPPED_FOLDER / f"{name}.json").read_bytes()))


IMAGE = MediaRef(MediaKind.IMAGE, "key", 600, 400)


def fitted_size(model: ModelSpec, **asked: Any) -> tuple[int, int, int]:
    request = GenerationRequest(
        model=model.id, task=Task.IMAGE_TO_VIDEO, prompt="a cat", image=IMAGE, **asked
    )
    fitted = fit(model, request)
    return fitted.width, fitted.height, fitted.num_frames


def test_parameters_make_a_model_free() -> None:
    model = spec(noisy_video("a.png", width=640, height=352, amount=25))
    assert model.tasks == {Task.IMAGE_TO_VIDEO}
    assert (model.defaults.width, model.defaults.height, model.defaults.num_frames) == (640, 352, 25)
    assert (model.fps, model.defaults.fps) == (Range(24, 24), 24)
    assert fitted_size(model, width=321, height=200, num_frames=77) == (320, 200, 77)


def test_constants_bind_it() -> None:
    graph = noisy_video("a.png", width=640, height=352, amount=25)
    graph["2"]["_meta"]["title"] = graph["3"]["_meta"]["title"] = "Fixed"
    model = spec(graph)
    assert fitted_size(model, width=1280, height=704) == (640, 352, 25)
    assert fitted_size(model, num_frames=9) == (640, 352, 25)


@pytest.mark.parametrize(("name", "size"), [("ltx2_landscape", (1024, 576)), ("ltx2_portrait", (576, 1024))])
def test_the_shipped_ltx2_workflows(name: str, size: tuple[int, int]) -> None:
    model = shipped(name)
    assert model.tasks == {Task.IMAGE_TO_VIDEO}
    assert (model.defaults.width, model.defaults.height) == size
    assert fitted_size(model, width=1000, height=600, num_frames=100) == (960, 576, 97)
    assert fitted_size(model, width=size[0], height=size[1], duration=5.0) == (*size, 121)
    assert "negative_prompt" in model.parameters
    assert model.defaults.negative_prompt


def test_ltx2_in_one_stage_takes_multiples_of_32() -> None:
    graph = {
        "1": node(
            "LTXVImgToVideo",
            "$param.width, $param.height, $param.num_frames",
            width=736,
            height=480,
            length=97,
        ),
        "2": node("SaveVideo", "$output.video", video=["1", 0]),
    }
    assert fitted_size_of_text(spec(graph), width=750, height=500, num_frames=50) == (736, 480, 49)


def fitted_size_of_text(model: ModelSpec, **asked: Any) -> tuple[int, int, int]:
    fitted = fit(model, GenerationRequest(model="x", task=Task.TEXT_TO_VIDEO, prompt="a cat", **asked))
    return fitted.width, fitted.height, fitted.num_frames


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            {"width": 750, "height": 480, "length": 97},
            "size 750×480 does not fit: LTX-2 takes multiples of 32 here; write 736×480",
        ),
        (
            {"width": 736, "height": 480, "length": 100},
            "100 frames do not fit: LTX-2 makes 8n+1; write 97",
        ),
    ],
)
def test_a_fixed_size_or_length_that_ltx2_does_not_take(inputs: dict[str, int], message: str) -> None:
    graph = {
        "1": node("EmptyLTXVLatentVideo", "Latent", **inputs),
        "2": node("SaveVideo", "$output.video", video=["1", 0]),
    }
    with pytest.raises(WorkflowError) as caught:
        spec(graph)
    assert message in caught.value.reason
    assert 'node 1 "Latent"' in caught.value.reason


def test_images() -> None:
    graph = {
        "1": node("EmptyLatentImage", "$width, $height, $batch_size", width=512, height=512, batch_size=1),
        "2": node(
            "KSampler",
            "$seed, $steps, $cfg, $denoise",
            seed=0,
            steps=20,
            cfg=8.0,
            denoise=1.0,
            latent=["1", 0],
        ),
        "3": node("SaveImage", "Save", images=["2", 0]),
    }
    model = spec(graph)
    assert model.tasks == {Task.TEXT_TO_IMAGE}
    assert (model.defaults.num_inference_steps, model.defaults.guidance_scale) == (20, 8.0)
    assert model.parameters == {"strength"}
    assert model.max_outputs > 1
    graph["4"] = node("LoadImage", "$image!", image="a.png")
    assert spec(graph).tasks == {Task.IMAGE_TO_IMAGE}


def test_the_size_nearest_to_the_result_counts() -> None:
    graph = {
        "1": node("EmptyLatentImage", "Latent", width=512, height=512),
        "2": node("ImageScale", "Upscaled", image=["1", 0], width=1024, height=768),
        "3": node("SaveImage", "Save", images=["2", 0]),
    }
    assert spec(graph).sizes.only == ((1024, 768),)


def test_every_shipped_workflow_is_one() -> None:
    names = {path.stem for path in Path(SHIPPED_FOLDER).glob("*.json")}
    assert names == {"ltx2_landscape", "ltx2_portrait", "weight_free"}
    assert all(Task.IMAGE_TO_VIDEO in shipped(name).tasks for name in names)


def test_a_shipped_workflow_of_a_wrong_size() -> None:
    """LTX-2's rules are checked before anything runs."""
    graph = json.loads((SHIPPED_FOLDER / "ltx2_landscape.json").read_text())
    for each in graph.values():
        if each["class_type"] == "ImageScale":
            each["_meta"]["title"] = "Size"
            each["inputs"]["width"] = 1000
    with pytest.raises(WorkflowError, match="1000×576 does not fit") as caught:
        spec(graph)
    assert "write 1024×576" in caught.value.reason
