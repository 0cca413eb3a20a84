"""What a real server said, understood."""

import json
from pathlib import Path
from typing import Any

import pytest

from framegate.core.errors import GenerationFailed, OutOfMemory
from framegate.plugins.comfyui.execution.media_files import files_of
from framegate.plugins.comfyui.execution.progress import GraphProgress
from framegate.plugins.comfyui.servers.api_errors import (
    MissingFiles,
    MissingNodes,
    blocks_output,
    execution_error,
    refusal,
)
from framegate.plugins.comfyui.workflows.node_schema import read_schema
from framegate.plugins.comfyui.workflows.workflow import Workflow, parse_workflow
from tests.support.comfyui.graphs import node, noisy_video

RECORDED = Path(__file__).parent / "recorded"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text())


def workflow(graph: Any = None) -> Workflow:
    return parse_workflow("flow", json.dumps(graph or noisy_video("a.png")).encode())


def test_a_wrong_file_name() -> None:
    error = refusal(workflow(), recorded("prompt_400_invalid_image")["body"])
    assert error.message == (
        'ComfyUI refuses the workflow flow: node 1 "$param.image" (LoadImage): Custom validation failed for '
        "node: image - Invalid image file: missing.png."
    )


@pytest.mark.parametrize(
    "body",
    [
        recorded("prompt_400_missing_node_type")["body"],
        {
            "error": {
                "type": "invalid_prompt",
                "message": "Cannot execute because node VHS_VideoCombine does not exist.",
                "details": "Node ID '#2'",
                "extra_info": {},
            },
            "node_errors": {},
        },
    ],
    ids=["newer", "older"],
)
def test_a_class_that_the_server_lacks(body: Any) -> None:
    error = refusal(workflow(), body)
    assert isinstance(error, MissingNodes)
    assert 'does not know the class ImageScale of node 2 "$param.width, $param.height"' in error.message


def missing(file: str, input_name: str) -> dict[str, Any]:
    return {
        "type": "value_not_in_list",
        "message": "Value not in list",
        "details": f"{input_name}: '{file}' not in []",
        "extra_info": {"input_name": input_name, "input_config": [[], {}], "received_value": file},
    }


def test_missing_model_files_are_named_and_nothing_else() -> None:
    graph = noisy_video("a.png")
    graph["10"] = node("CheckpointLoaderSimple", "Checkpoint", ckpt_name="a.safetensors")
    body: dict[str, Any] = {
        "error": {"type": "prompt_outputs_failed_validation", "message": "", "details": "", "extra_info": {}},
        "node_errors": {
            "10": {"errors": [missing("a.safetensors", "ckpt_name")], "dependent_outputs": ["6"]},
            "12": {"errors": [missing("a.safetensors", "clip_name")], "dependent_outputs": ["6"]},
            "11": {"errors": [missing("b/c.gguf", "unet_name")], "dependent_outputs": ["6"]},
            "6": {"errors": [missing("vp9", "codec")], "dependent_outputs": ["6"]},
        },
    }
    error = refusal(workflow(graph), body)
    assert isinstance(error, MissingFiles)
    assert error.message.startswith(
        "ComfyUI lacks 2 model files that the workflow flow needs: a.safetensors, for "
        'node 10 "Checkpoint" (CheckpointLoaderSimple) and node 12; b/c.gguf, for node 11. '
    )


def test_a_partly_accepted_prompt() -> None:
    body = recorded("prompt_partial_node_errors_200")["body"]
    assert blocks_output(workflow(), body)
    assert refusal(workflow(), body).message == (
        'ComfyUI refuses the workflow flow: node 6 "$output.video" (SaveVideo): '
        "codec can't be 'vp9'; it has auto, h264."
    )
    body["node_errors"]["6"]["dependent_outputs"] = ["8"]
    assert not blocks_output(workflow(), body)
    assert not blocks_output(workflow(), recorded("prompt_success")["body"])


@pytest.mark.parametrize("body", ["500 Internal Server Error", None, [], {"error": "no"}, {"node_errors": 7}])
def test_an_answer_that_says_nothing(body: Any) -> None:
    assert isinstance(refusal(workflow(), body), GenerationFailed)


def event(history: str, kind: str) -> Any:
    [entry] = recorded(history)["body"].values()
    return next(data for name, data in entry["status"]["messages"] if name == kind)


def test_a_failed_node() -> None:
    error = execution_error(workflow(), event("history_execution_error", "execution_error"))
    assert error.message == (
        'ComfyUI failed in node 6 "$output.video" (SaveVideo): [Errno 542398533] Generic error in an '
        "external library: 'avcodec_open2(\"libx264\", {})'."
    )


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("torch.OutOfMemoryError", "Allocation on device 0 would exceed allowed memory. (out of memory)"),
        ("torch.cuda.OutOfMemoryError", ""),
        ("RuntimeError", "CUDA error: out of memory"),
    ],
)
def test_no_memory(kind: str, message: str) -> None:
    data = {"node_id": "4", "exception_type": kind, "exception_message": message}
    error = execution_error(workflow(), data)
    assert isinstance(error, OutOfMemory)
    assert 'node 4 "$param.seed" (ImageAddNoise)' in error.message


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("No such file: '/srv/comfyui/models/vae/a b.pt'", "No such file: 'a b.pt'"),
        (r"can't open C:\Users\me\comfy\x.bin", "can't open x.bin"),
        ("see https://example.com/help/page", "see https://example.com/help/page"),
        ("two\nlines / halves", "two lines / halves"),
    ],
)
def test_paths_of_its_host_are_not_told(message: str, shown: str) -> None:
    error = execution_error(workflow(), {"node_id": "4", "exception_message": message})
    assert error.message.endswith(f": {shown}.")


def fractions(events: list[Any]) -> list[float]:
    progress = GraphProgress(workflow().graph)
    seen: list[float] = []
    for each in events:
        progress.take(each["type"], each["data"])
        seen.append(progress.fraction)
    return seen


@pytest.mark.parametrize("name", ["ws_success", "ws_success_fully_cached"])
def test_progress_goes_up_to_the_end(name: str) -> None:
    seen = fractions(recorded(name))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)


def test_progress_of_a_graph_that_was_interrupted() -> None:
    assert 0 < fractions(recorded("ws_interrupted"))[-1] < 1


def test_a_sampler_weighs_as_much_as_its_steps() -> None:
    graph = {
        "1": node("EmptyLatentImage", width=64, height=64),
        "2": node("KSampler", steps=18, latent=["1", 0]),
        "3": node("SaveImage", images=["2", 0]),
    }
    progress = GraphProgress(workflow(graph).graph)
    progress.take("execution_cached", {"nodes": ["1"]})
    progress.take("progress", {"node": "2", "value": 9, "max": 18})
    assert progress.fraction == pytest.approx(10 / 20)
    progress.take("progress_state", {"nodes": {"2": {"value": 3, "max": 18, "state": "running"}}})
    assert progress.fraction == pytest.approx(10 / 20), "it never goes back"


@pytest.mark.parametrize(
    "data", [{}, {"nodes": 3}, {"node": None}, {"node": "2", "value": "x", "max": 0}, {"nodes": {"2": 1}}]
)
@pytest.mark.parametrize(
    "kind", ["progress", "progress_state", "execution_cached", "executing", "unheard_of"]
)
def test_odd_events_do_no_harm(kind: str, data: Any) -> None:
    progress = GraphProgress(workflow().graph)
    progress.take(kind, data)
    assert progress.fraction == 0.0


@pytest.mark.parametrize(
    ("output", "kind", "names"),
    [
        (
            {"images": [{"filename": "a.mp4", "subfolder": "", "type": "output"}], "animated": [True]},
            "video",
            ["a.mp4"],
        ),
        (
            {"gifs": [{"filename": "a", "subfolder": "x", "type": "output", "format": "video/h264-mp4"}]},
            "video",
            ["a"],
        ),
        (
            {"images": [{"filename": "p.png", "type": "temp"}, {"filename": "a.png", "type": "output"}]},
            "image",
            ["a.png"],
        ),
        ({"images": [{"filename": "p.png", "type": "temp"}]}, "image", ["p.png"]),
        ({"images": [{"filename": "a.png"}], "video": {"filename": "a.webm"}}, "video", ["a.webm"]),
        ({"images": [{"filename": "a.webp"}], "animated": [True]}, "video", ["a.webp"]),
        ({"images": [{"filename": "a.png"}]}, "video", []),
        ({"text": ["a.mp4"]}, "video", []),
        (None, "video", []),
        ({"images": [None, 7, {"filename": ""}]}, "image", []),
    ],
)
def test_which_files_are_the_result(output: Any, kind: Any, names: list[str]) -> None:
    assert [file.filename for file in files_of(output, kind)] == names


def test_what_nodes_say_of_their_inputs() -> None:
    loader = read_schema(recorded("object_info_LoadImage")["body"])["LoadImage"].inputs["image"]
    assert (loader.type, loader.upload, loader.required) == ("COMBO", "image", True)
    assert "probe.png" in (loader.options or ())
    saver = read_schema(recorded("object_info_SaveVideo")["body"])["SaveVideo"]
    assert (saver.inputs["format"].type, saver.inputs["format"].options) == ("COMBO", ("auto", "mp4"))
    seed = read_schema(recorded("object_info_RandomNoise")["body"])["RandomNoise"].inputs["noise_seed"]
    assert (seed.type, seed.min, seed.max) == ("INT", 0, 2**64 - 1)
    assert read_schema({}) == read_schema([]) == {}
