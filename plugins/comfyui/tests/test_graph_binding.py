"""Workflow files: what is bound where, and what is refused."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framegate.plugins.comfyui.workflows.errors import WorkflowFault
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema, read_schema
from framegate.plugins.comfyui.workflows.vocabulary import Key
from framegate.plugins.comfyui.workflows.workflow import Workflow, as_prompt, parse_workflow
from tests.support.comfyui.graphs import Graph, node, noisy_video, without


def parsed(graph: Mapping[str, Any], schema: Mapping[str, NodeSchema] | None = None) -> Workflow:
    return parse_workflow("flow", json.dumps(graph).encode(), schema)


def places(workflow: Workflow, key: Key | None) -> list[tuple[str, str]]:
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
        Key.IMAGE: ("1", "image"),
        Key.WIDTH: ("2", "width"),
        Key.HEIGHT: ("2", "height"),
        Key.NUM_FRAMES: ("3", "amount"),
        Key.SEED: ("4", "seed"),
        Key.TEXT: ("7", "value"),
    }


@pytest.mark.parametrize(
    ("made", "key", "name"),
    [
        (node("RandomNoise", "$param.seed", noise_seed=1), Key.SEED, "noise_seed"),
        (node("EasySeed", "$param.seed", seed_value=1), Key.SEED, "seed_value"),
        (node("CLIPTextEncode", "$param.negative_text", text=""), Key.NEGATIVE_TEXT, "text"),
        (node("StringConstant", "$param.text", string=""), Key.TEXT, "string"),
        (node("LoadVideo", "$param.video", file="a.mp4"), Key.VIDEO, "file"),
        (node("VHS_LoadVideo", "$clip.~video!", video="a.mp4"), Key.VIDEO, "video"),
        (node("LoadImage", "$~init_image", image="a.png"), Key.IMAGE, "image"),
        (node("LoadImage", "$portrait_of_you.image", image="a.png"), Key.IMAGE, "image"),
        (node("LoadImage", "$param.last_image", image="a.png"), Key.LAST_IMAGE, "image"),
        (node("SomebodysLoader", "$param.image", path="a.png", alpha=1), Key.IMAGE, "path"),
        (node("PrimitiveInt", "$param.width", value=1), Key.WIDTH, "value"),
        (node("EmptyLTXVLatentVideo", "$param.num_frames", length=9), Key.NUM_FRAMES, "length"),
        (node("CreateVideo", "$param.fps", fps=24.0), Key.FPS, "fps"),
        (node("KSampler", "$param.steps, $param.cfg", steps=9, cfg=1.0), Key.STEPS, "steps"),
        (
            node("SaveIt", "$num_frames.format.frames", **{"format.frames": 1}),
            Key.NUM_FRAMES,
            "format.frames",
        ),
        (node("CheckpointLoaderSimple", "$model.ckpt_name", ckpt_name="a"), None, "ckpt_name"),
        (node("KSampler", "$param.scheduler", scheduler="simple"), None, "scheduler"),
        (node("LoadAudio", "$audio.~audio", audio="a.wav"), None, "audio"),
    ],
)
def test_which_input_a_marker_binds(made: dict[str, Any], key: Key | None, name: str) -> None:
    assert ("1", name) in places(parsed(graph_with(made)), key)


def test_the_server_knows_which_input_takes_a_file() -> None:
    schema = read_schema(
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
    assert places(workflow, Key.VIDEO) == [("1", "clip")]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            node("KSampler", "Sampler, $param.text", seed=1, steps=2),
            '"Sampler, $param.text" (KSampler): $param.text binds nothing. Inputs that can be set: seed, st',
        ),
        (
            node("CLIPTextEncode", "$param.text", text=["save", 0]),
            "$param.text would set its input text, which is wired to node save; put the marker on",
        ),
        (node("KSampler", "$seed.no_such!", seed=1), "$seed.no_such! binds nothing"),
        (
            node("Style", "$style_name.name!", name="a"),
            "$style_name.name! is required, but no request can say",
        ),
        (
            node("KSampler", "$seed, $noise_seed.seed", seed=1),
            "$seed and $noise_seed both set its input seed",
        ),
        (node("KSampler", "$", seed=1), "'$' is no marker"),
        (
            node("KSampler", "a", model=["nowhere", 0]),
            "its input model is wired to node nowhere, which is not",
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
def test_what_is_wrong_is_said_with_node_and_title(made: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowFault) as caught:
        parsed(graph_with(made))
    assert message in caught.value.reason


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "it is no JSON"),
        (b"[]", "it holds no graph"),
        (b"{}", "it has no nodes"),
        (b"[" * 100_000, "it is no JSON"),
        (b'{"1": {"class_type": "X"}}', "'1' is no node"),
        (b'{"1": {"class_type": 1, "inputs": {}}}', "'1' is no node"),
        (b'{"prompt": {"1": {"class_type": "X", "inputs": {}}}}', "'prompt' is no node"),
        (json.dumps({"nodes": [], "links": [], "version": 0.4}).encode(), "Export (API)"),
    ],
)
def test_files_that_hold_no_graph(data: bytes, message: str) -> None:
    with pytest.raises(WorkflowFault) as caught:
        parse_workflow("flow", data)
    assert message in caught.value.reason


@pytest.mark.parametrize(
    ("made", "output"),
    [
        ([node("SaveImage", "$output.cover"), node("PreviewImage", "Look")], ("1", "image")),
        ([node("SaveImage", "$output.image2"), node("PreviewImage")], ("1", "image")),
        ([node("SaveImage"), node("VHS_VideoCombine")], ("2", "video")),
        ([node("PreviewImage"), node("SaveImage")], ("2", "image")),
        ([node("SaveAudio"), node("SaveVideo")], ("2", "video")),
        ([node("MyOwnSaver", "Result, $output.video"), node("SaveImage")], ("1", "video")),
    ],
)
def test_where_the_result_is(made: list[dict[str, Any]], output: tuple[str, str]) -> None:
    workflow = parsed({str(index): each for index, each in enumerate(made, 1)})
    assert (workflow.output, workflow.kind) == output


@pytest.mark.parametrize(
    ("made", "message"),
    [([node("KSampler")], "no node is marked as its result"), ([node("SaveAudio")], "nothing but sound")],
)
def test_a_graph_without_a_result(made: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(WorkflowFault, match=message):
        parsed({str(index): each for index, each in enumerate(made, 1)})


def test_ids_need_not_be_digits() -> None:
    graph = without(noisy_video("a.png"), "7", "8")
    graph["92:3"] = node("PrimitiveStringMultiline", "$param.text", value="")
    assert places(parsed(graph), Key.TEXT) == [("92:3", "value")]


@given(st.text())
def test_a_value_reaches_its_node_unchanged_and_nothing_else_does(text: str) -> None:
    graph = noisy_video("a.png")
    prompt = as_prompt(parsed(graph).graph, {("7", "value"): text})
    assert json.loads(json.dumps(prompt)) == {**graph, "7": {**graph["7"], "inputs": {"value": text}}}
