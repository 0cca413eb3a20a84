"""Which inputs markers bind, and which markers are refused."""

from typing import Any

import pytest

from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.node_schema import parse_object_info
from framegate.plugins.comfyui.workflows.vocabulary import ParameterKey
from framegate.plugins.comfyui.workflows.workflow import Workflow
from tests.support.comfyui.graphs import Graph, node, noisy_video, parsed, without


def places(workflow: Workflow, key: ParameterKey | None) -> list[tuple[str, str]]:
    return [(each.node, each.input) for each in workflow.parameters if each.key == key]


def graph_with(*nodes: dict[str, Any]) -> Graph:
    """A graph that saves a video, and these nodes beside it."""
    saving = {"save": node("SaveVideo", "$output.video", filename_prefix="x")}
    return {**saving, **{str(index): each for index, each in enumerate(nodes, 1)}}


def test_the_sample_workflow() -> None:
    workflow = parsed(noisy_video("example.png"))
    assert (workflow.output, workflow.kind) == ("6", "video")
    bound = {each.key: (each.node, each.input) for each in workflow.parameters}
    assert bound == {
        ParameterKey.IMAGE: ("1", "image"),
        ParameterKey.WIDTH: ("2", "width"),
        ParameterKey.HEIGHT: ("2", "height"),
        ParameterKey.NUM_FRAMES: ("3", "amount"),
        ParameterKey.SEED: ("4", "seed"),
        ParameterKey.TEXT: ("7", "value"),
    }


@pytest.mark.parametrize(
    ("made", "key", "name"),
    [
        (node("RandomNoise", "$param.seed", noise_seed=1), ParameterKey.SEED, "noise_seed"),
        (node("EasySeed", "$param.seed", seed_value=1), ParameterKey.SEED, "seed_value"),
        (node("CLIPTextEncode", "$param.negative_text", text=""), ParameterKey.NEGATIVE_TEXT, "text"),
        (node("StringConstant", "$param.text", string=""), ParameterKey.TEXT, "string"),
        (node("LoadVideo", "$param.video", file="a.mp4"), ParameterKey.VIDEO, "file"),
        (node("VHS_LoadVideo", "$clip.~video!", video="a.mp4"), ParameterKey.VIDEO, "video"),
        (node("LoadImage", "$~init_image", image="a.png"), ParameterKey.IMAGE, "image"),
        (node("LoadImage", "$portrait_of_you.image", image="a.png"), ParameterKey.IMAGE, "image"),
        (node("LoadImage", "$param.last_image", image="a.png"), ParameterKey.LAST_IMAGE, "image"),
        (node("SomebodysLoader", "$param.image", path="a.png", alpha=1), ParameterKey.IMAGE, "path"),
        (node("PrimitiveInt", "$param.width", value=1), ParameterKey.WIDTH, "value"),
        (node("EmptyLTXVLatentVideo", "$param.num_frames", length=9), ParameterKey.NUM_FRAMES, "length"),
        (node("CreateVideo", "$param.fps", fps=24.0), ParameterKey.FPS, "fps"),
        (node("KSampler", "$param.steps, $param.cfg", steps=9, cfg=1.0), ParameterKey.STEPS, "steps"),
        (
            node("SaveIt", "$num_frames.format.frames", **{"format.frames": 1}),
            ParameterKey.NUM_FRAMES,
            "format.frames",
        ),
        (node("CheckpointLoaderSimple", "$model.ckpt_name", ckpt_name="a"), None, "ckpt_name"),
        (node("KSampler", "$param.scheduler", scheduler="simple"), None, "scheduler"),
        (node("LoadAudio", "$audio.~audio", audio="a.wav"), None, "audio"),
    ],
)
def test_which_input_a_marker_binds(made: dict[str, Any], key: ParameterKey | None, name: str) -> None:
    assert ("1", name) in places(parsed(graph_with(made)), key)


def test_the_server_knows_which_input_takes_a_file() -> None:
    schema = parse_object_info(
        {
            "Loader": {
                "input": {
                    "required": {
                        "mode": ["COMBO", {"options": ["fast"]}],
                        "clip": [["a.mp4"], {"video_upload": True}],
                    }
                }
            }
        }
    )
    workflow = parsed(graph_with(node("Loader", "$~footage", mode="fast", clip="a.mp4")), schema)
    assert places(workflow, ParameterKey.VIDEO) == [("1", "clip")]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            node("KSampler", "Sampler, $param.text", seed=1, steps=2),
            '"Sampler, $param.text" (KSampler): $param.text binds nothing. Inputs that can be set: seed, st',
        ),
        (
            node("CLIPTextEncode", "$param.text", text=["save", 0]),
            "$param.text would set its input text, which is linked to node save; put the marker on",
        ),
        (node("KSampler", "$seed.no_such!", seed=1), "$seed.no_such! binds nothing"),
        (
            node("Style", "$style_name.name!", name="a"),
            "$style_name.name! is required, but requests have no such parameter",
        ),
        (
            node("KSampler", "$seed, $noise_seed.seed", seed=1),
            "$seed and $noise_seed both set its input seed",
        ),
        (node("KSampler", "$", seed=1), "'$' is not a marker"),
        (
            node("KSampler", "a", model=["nowhere", 0]),
            "its input model is linked to node nowhere, which does not",
        ),
        (node("SaveVideo", "$output.video"), "are both marked $output.video"),
        (
            node("Latent", "$param.num_frame", value=9),
            "requests have no num_frame; did you mean $param.num_frames?",
        ),
        (node("LoadImage", "$param.imag", image="a.png"), "did you mean $param.image?"),
        (node("PrimitiveInt", "$param.colour", value=9), "requests have no colour. They have text, "),
        (node("SaveVideo", "$output.vide"), "did you mean $output.video?"),
    ],
)
def test_errors_name_the_node_and_its_title(made: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        parsed(graph_with(made))
    assert message in caught.value.reason


def test_ids_need_not_be_digits() -> None:
    graph = without(noisy_video("a.png"), "7", "8")
    graph["92:3"] = node("PrimitiveStringMultiline", "$param.text", value="")
    assert places(parsed(graph), ParameterKey.TEXT) == [("92:3", "value")]
