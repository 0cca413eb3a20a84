"""ComfyUI's errors, as recorded from a real server, in messages for people."""

from typing import Any

import pytest

from framegate.core.errors import GenerationFailed, OutOfMemory
from framegate.plugins.comfyui.servers.api_errors import (
    MissingModelFiles,
    MissingNodeClass,
    blocks_output,
    execution_error,
    prompt_error,
)
from tests.support.comfyui.graphs import node, noisy_video, parsed
from tests.support.comfyui.recordings import read_recording

WORKFLOW = parsed(noisy_video("a.png"))


def test_a_wrong_file_name() -> None:
    error = prompt_error(WORKFLOW, read_recording("prompt_400_invalid_image")["body"])
    assert error.message == (
        'ComfyUI rejected the workflow flow: node 1 "$param.image" (LoadImage): Custom validation failed for '
        "node: image - Invalid image file: missing.png."
    )


@pytest.mark.parametrize(
    "body",
    [
        read_recording("prompt_400_missing_node_type")["body"],
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
def test_a_missing_node_class(body: Any) -> None:
    error = prompt_error(WORKFLOW, body)
    assert isinstance(error, MissingNodeClass)
    assert 'lacks the class ImageScale of node 2 "$param.width, $param.height"' in error.message


def missing(file: str, input_name: str) -> dict[str, Any]:
    return {
        "type": "value_not_in_list",
        "message": "Value not in list",
        "details": f"{input_name}: '{file}' not in []",
        "extra_info": {"input_name": input_name, "input_config": [[], {}], "received_value": file},
    }


def test_missing_model_files_are_listed_alone() -> None:
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
    error = prompt_error(parsed(graph), body)
    assert isinstance(error, MissingModelFiles)
    assert error.message.startswith(
        "ComfyUI lacks 2 model files that the workflow flow needs: a.safetensors, for "
        'node 10 "Checkpoint" (CheckpointLoaderSimple) and node 12; b/c.gguf, for node 11. '
    )


def test_a_partly_accepted_prompt() -> None:
    body = read_recording("prompt_partial_node_errors_200")["body"]
    assert blocks_output(WORKFLOW, body)
    assert prompt_error(WORKFLOW, body).message == (
        'ComfyUI rejected the workflow flow: node 6 "$output.video" (SaveVideo): '
        "codec can't be 'vp9'; it takes auto, h264."
    )
    body["node_errors"]["6"]["dependent_outputs"] = ["8"]
    assert not blocks_output(WORKFLOW, body)
    assert not blocks_output(WORKFLOW, read_recording("prompt_success")["body"])


@pytest.mark.parametrize("body", ["500 Internal Server Error", None, [], {"error": "no"}, {"node_errors": 7}])
def test_a_response_without_a_reason(body: Any) -> None:
    assert isinstance(prompt_error(WORKFLOW, body), GenerationFailed)


def event(history: str, kind: str) -> Any:
    [entry] = read_recording(history)["body"].values()
    return next(data for name, data in entry["status"]["messages"] if name == kind)


def test_a_failed_node() -> None:
    error = execution_error(WORKFLOW, event("history_execution_error", "execution_error"))
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
def test_out_of_memory(kind: str, message: str) -> None:
    data = {"node_id": "4", "exception_type": kind, "exception_message": message}
    error = execution_error(WORKFLOW, data)
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
def test_paths_of_its_host_are_hidden(message: str, shown: str) -> None:
    error = execution_error(WORKFLOW, {"node_id": "4", "exception_message": message})
    assert error.message.endswith(f": {shown}.")
