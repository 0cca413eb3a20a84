"""Graphs in API format."""

import json
from collections.abc import Mapping
from typing import Any

from framegate.plugins.comfyui.workflows.node_schema import NodeSchema
from framegate.plugins.comfyui.workflows.workflow import Workflow, parse_workflow

Graph = dict[str, dict[str, Any]]


def node(class_type: str, title: str = "", /, **inputs: object) -> dict[str, Any]:
    return {"class_type": class_type, "_meta": {"title": title or class_type}, "inputs": inputs}


def noisy_video(
    image: str,
    *,
    text: str = "a cat",
    width: int = 128,
    height: int = 96,
    amount: int = 9,
    seed: int = 1,
    codec: str = "h264",
) -> Graph:
    """The weight-free workflow: a still image under noise, and the prompt echoed."""
    return {
        "1": node("LoadImage", "$param.image", image=image),
        "2": node(
            "ImageScale",
            "$param.width, $param.height",
            image=["1", 0],
            upscale_method="lanczos",
            width=width,
            height=height,
            crop="center",
        ),
        "3": node("RepeatImageBatch", "LENGTH (frames), $param.amount", image=["2", 0], amount=amount),
        "4": node("ImageAddNoise", "$param.seed", image=["3", 0], seed=seed, strength=0.1),
        "5": node("CreateVideo", "Create Video", images=["4", 0], fps=24.0),
        "6": node(
            "SaveVideo", "$output.video", video=["5", 0], filename_prefix="LTX-2", format="mp4", codec=codec
        ),
        "7": node("PrimitiveStringMultiline", "$param.text", value=text),
        "8": node("PreviewAny", "$output.prompt_echo", source=["7", 0]),
    }


def without(graph: Mapping[str, dict[str, Any]], *node_ids: str) -> Graph:
    return {node_id: dict(each) for node_id, each in graph.items() if node_id not in node_ids}


def with_inputs(graph: Mapping[str, dict[str, Any]], node_id: str, **inputs: object) -> Graph:
    changed = {**graph[node_id], "inputs": {**graph[node_id]["inputs"], **inputs}}
    return {**graph, node_id: changed}


def parsed(graph: Mapping[str, Any], schema: Mapping[str, NodeSchema] | None = None) -> Workflow:
    """The workflow ``flow`` that holds this graph."""
    return parse_workflow("flow", json.dumps(graph).encode(), schema)
