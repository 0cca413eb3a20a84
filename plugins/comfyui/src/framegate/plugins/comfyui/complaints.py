"""ComfyUI's errors as ours, with the titles of the nodes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from framegate.core.errors import GenerationError, GenerationFailed, OutOfMemory
from framegate.plugins.comfyui.workflow import Workflow

_MODEL_FILE = re.compile(r".+\.(safetensors|sft|ckpt|pt2?|pth|bin|gguf|onnx|engine)", re.IGNORECASE)
_ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?[\\/](?:[^\\/\s'\"]+[\\/])+(?P<name>[^\\/\s'\",)]*)")
_MEMORY = re.compile(r"OutOfMemory|out of memory|Allocation on device|not enough memory", re.IGNORECASE)
_MAX_LENGTH = 500
_MAX_OPTIONS = 12


class MissingFiles(GenerationFailed):
    """The server lacks files of models; another server may have them."""


class MissingNodes(GenerationFailed):
    """The server lacks a class of nodes; another server may have it."""


class _Complaint(Struct, frozen=True):
    node: str
    type: str
    message: str
    details: str
    input: str
    received: Any
    options: tuple[Any, ...]


def refusal(workflow: Workflow, body: Any) -> GenerationError:
    """What a 400 of ``POST /prompt`` means, or the node errors of a 200."""
    answer: Mapping[str, Any] = body if isinstance(body, dict) else {}
    complaints = list(_complaints(answer.get("node_errors")))
    missing = list(dict.fromkeys(str(item.received) for item in complaints if _is_model_file(item)))
    if missing:
        places = ", ".join(
            dict.fromkeys(
                f"{item.received} ({_label(workflow, item.node)})"
                for item in complaints
                if _is_model_file(item)
            )
        )
        noun = "a model file" if len(missing) == 1 else f"{len(missing)} model files"
        return MissingFiles(
            f"ComfyUI lacks {noun} that the workflow {workflow.name} needs: {places}. Put the missing files into "
            "its models folder, or change the workflow."
        )
    if complaints:
        said = "; ".join(dict.fromkeys(_sentence(workflow, item) for item in complaints))
        return GenerationFailed(f"ComfyUI refuses the workflow {workflow.name}: {said}."[:2000])
    return _general(workflow, answer.get("error"))


def blocks_output(workflow: Workflow, body: Any) -> bool:
    """Is the result among what a partly accepted prompt leaves out?"""
    errors = body.get("node_errors") if isinstance(body, dict) else None
    found = errors.values() if isinstance(errors, dict) else ()
    return any(
        workflow.output in (error.get("dependent_outputs") or ())
        for error in found
        if isinstance(error, dict)
    )


def execution_error(workflow: Workflow, data: Mapping[str, Any]) -> GenerationError:
    """What an ``execution_error`` event means."""
    kind, message = str(data.get("exception_type", "")), str(data.get("exception_message", ""))
    where = _label(workflow, str(data.get("node_id", "")))
    if _MEMORY.search(kind) or _MEMORY.search(message):
        return OutOfMemory(
            f"ComfyUI ran out of memory in {where}; ask for a smaller size, fewer frames or fewer steps."
        )
    return GenerationFailed(f"ComfyUI failed in {where}: {_clean(message) or kind or 'it does not say why'}.")


def _general(workflow: Workflow, error: Any) -> GenerationError:
    if not isinstance(error, dict):
        return GenerationFailed(f"ComfyUI refuses the workflow {workflow.name}, and does not say why.")
    extra: Mapping[str, Any] = error.get("extra_info") or {}
    message = _clean(str(error.get("message", "")))
    if error.get("type") in ("missing_node_type", "invalid_prompt") and extra.get("class_type"):
        where = _label(workflow, str(extra.get("node_id", "")))
        return MissingNodes(
            f"ComfyUI lacks the nodes {extra['class_type']} of {where} in the workflow {workflow.name}: "
            "the custom nodes are not installed there, or it is too old."
        )
    details = _clean(str(error.get("details", "")))
    return GenerationFailed(
        f"ComfyUI refuses the workflow {workflow.name}: {message}{f' ({details})' if details else ''}."
    )


def _complaints(node_errors: Any) -> Iterator[_Complaint]:
    if not isinstance(node_errors, dict):
        return
    for node_id, entry in node_errors.items():
        for error in entry.get("errors", ()) if isinstance(entry, dict) else ():
            if isinstance(error, dict):
                extra: Mapping[str, Any] = error.get("extra_info") or {}
                config = extra.get("input_config")
                yield _Complaint(
                    node=str(node_id),
                    type=str(error.get("type", "")),
                    message=str(error.get("message", "")),
                    details=str(error.get("details", "")),
                    input=str(extra.get("input_name", "")),
                    received=extra.get("received_value"),
                    options=_options(config),
                )


def _options(config: Any) -> tuple[Any, ...]:
    match config:
        case [list(options), *_]:
            return tuple(options)
        case [str(), {"options": list(options)}, *_]:
            return tuple(options)
        case _:
            return ()


def _is_model_file(item: _Complaint) -> bool:
    return (
        item.type == "value_not_in_list"
        and isinstance(item.received, str)
        and _MODEL_FILE.fullmatch(item.received) is not None
    )


def _sentence(workflow: Workflow, item: _Complaint) -> str:
    where = _label(workflow, item.node)
    if item.type == "value_not_in_list" and item.input:
        shown = ", ".join(str(option) for option in item.options[:_MAX_OPTIONS])
        more = f" and {len(item.options) - _MAX_OPTIONS} more" if len(item.options) > _MAX_OPTIONS else ""
        fits = f"; it has {shown}{more}" if shown else ""
        return f"{where}: {item.input} can't be {str(item.received)[:100]!r}{fits}"
    return f"{where}: {item.message.rstrip('.')}{f': {_clean(item.details)}' if item.details else ''}"


def _label(workflow: Workflow, node_id: str) -> str:
    # A node of an expanded subgraph is named after the one that it came from.
    node = workflow.graph.get(node_id) or workflow.graph.get(node_id.partition(".")[0])
    return node.label if node else f"node {node_id or '?'}"


def _clean(text: str) -> str:
    """One line, without the paths of the host that ComfyUI runs on."""
    line = " ".join(text.split())
    return _ABSOLUTE_PATH.sub(r"\g<name>", line)[:_MAX_LENGTH].rstrip(". ")
