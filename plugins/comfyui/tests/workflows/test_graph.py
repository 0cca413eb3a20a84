"""Workflow files as graphs: what is refused, and what is left out."""

import json

import pytest

from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.graph import prune, read_graph
from framegate.plugins.comfyui.workflows.node_schema import parse_object_info
from framegate.plugins.comfyui.workflows.workflow import parse_workflow
from tests.support.comfyui.graphs import node


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "it is not valid JSON"),
        (b"[]", "it does not hold a graph"),
        (b"{}", "it has no nodes"),
        (b"[" * 100_000, "it is not valid JSON"),
        (b'{"1": {"class_type": "X"}}', "'1' is not a node"),
        (b'{"1": {"class_type": 1, "inputs": {}}}', "'1' is not a node"),
        (b'{"prompt": {"1": {"class_type": "X", "inputs": {}}}}', "'prompt' is not a node"),
        (json.dumps({"nodes": [], "links": [], "version": 0.4}).encode(), "Export (API)"),
    ],
)
def test_files_that_hold_no_graph(data: bytes, message: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        parse_workflow("flow", data)
    assert message in caught.value.reason


FIRST_LAST = {
    "1": node("LoadImage", "$param.image", image="a.png"),
    "2": node("LoadImage", "$param.last_image", image="a.png"),
    "3": node("ImageScale", "Scaled", image=["2", 0], width=64, height=64),
    "4": node("FirstLast", "Both", start_image=["1", 0], end_image=["3", 0]),
    "5": node("SaveVideo", "$output.video", video=["4", 0]),
}


SCHEMA = parse_object_info(
    {
        "ImageScale": {"input": {"required": {"image": ["IMAGE"]}}},
        "FirstLast": {
            "input": {"required": {"start_image": ["IMAGE"]}, "optional": {"end_image": ["IMAGE"]}}
        },
        "SaveVideo": {"input": {"required": {"video": ["VIDEO"]}}},
    }
)


def test_a_missing_optional_input_is_left_out() -> None:
    graph = read_graph(json.dumps(FIRST_LAST).encode())
    left = prune(graph, ["2"], SCHEMA)
    assert set(left) == {"1", "4", "5"}
    assert dict(left["4"].inputs) == {"start_image": ["1", 0]}


def test_a_missing_required_input_removes_its_node() -> None:
    graph = read_graph(json.dumps(FIRST_LAST).encode())
    assert set(prune(graph, ["1"], SCHEMA)) == {"2", "3"}
    assert set(prune(graph, ["2"], {})) == {"1"}, "inputs that no server describes count as required"
