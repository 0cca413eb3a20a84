"""Translate ComfyUI's errors into messages that name nodes by their titles."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from framegate.core.errors import GenerationError, GenerationFailed, OutOfMemory
from framegate.plugins.comfyui.json_access import items, table
from framegate.plugins.comfyui.workflows.compatibility import (
    describe_missing_files,
    is_model_file,
    list_options,
)
from framegate.plugins.comfyui.workflows.workflow import Workflow

_ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:)?[\\/](?:[^\\/\s'\"]+[\\/])+(?P<name>[^\\/\s'\",)]*)")
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemory|out of memory|Allocation on device|not enough memory", re.IGNORECASE
)
_MAX_LENGTH = 500
_MAX_MESSAGE_LENGTH = 2000


class MissingModelFiles(GenerationFailed):
    """The server lacks model files; another server may have them."""


class MissingNodeClass(GenerationFailed):
    """The server lacks a node class; another server may have it."""


class _NodeError(Struct, frozen=True):
    """One of the ``node_errors`` in a response of ``POST /prompt``."""

    node_id: str
    type: str
    message: str
    details: str
    input_name: str
    received_value: Any
    options: tuple[Any, ...]


def prompt_error(workflow: Workflow, body: Any) -> GenerationError:
    """Translate a 400 of ``POST /prompt``, or the node errors of a 200."""
    errors = list(_node_errors(table(body).get("node_errors")))
    missing: dict[str, list[str]] = {}
    for error in errors:
        if error.type == "value_not_in_list" and is_model_file(error.received_value):
            missing.setdefault(error.received_value, []).append(_label(workflow, error.node_id))
    if missing:
        return MissingModelFiles(describe_missing_files("ComfyUI", workflow.name, missing))
    if errors:
        reasons = "; ".join(dict.fromkeys(_describe_node_error(workflow, error) for error in errors))
        return GenerationFailed(
            f"ComfyUI rejected the workflow {workflow.name}: {reasons}."[:_MAX_MESSAGE_LENGTH]
        )
    return _describe_error(workflow, table(table(body).get("error")))


def blocks_output(workflow: Workflow, body: Any) -> bool:
    """Return whether a partly accepted prompt leaves out the workflow's result."""
    errors = table(table(body).get("node_errors")).values()
    return any(workflow.output in items(table(error).get("dependent_outputs")) for error in errors)


def execution_error(workflow: Workflow, data: Mapping[str, Any]) -> GenerationError:
    """Translate an ``execution_error`` event."""
    kind, message = str(data.get("exception_type", "")), str(data.get("exception_message", ""))
    label = _label(workflow, str(data.get("node_id", "")))
    if _OUT_OF_MEMORY.search(kind) or _OUT_OF_MEMORY.search(message):
        return OutOfMemory(
            f"ComfyUI ran out of memory in {label}; request a smaller size, fewer frames or fewer steps."
        )
    reason = _sanitize(message) or kind or "it gave no reason"
    return GenerationFailed(f"ComfyUI failed in {label}: {reason}.")


def _describe_error(workflow: Workflow, error: Mapping[str, Any]) -> GenerationError:
    """Translate the ``error`` of a response that has no node errors."""
    if not error:
        return GenerationFailed(f"ComfyUI rejected the workflow {workflow.name} without giving a reason.")
    extra = table(error.get("extra_info"))
    message = _sanitize(str(error.get("message", "")))
    details = _sanitize(str(error.get("details", "")))
    # Older servers call it invalid_prompt and name the node only in the details: "Node ID '#5'".
    node_id = str(extra.get("node_id") or "") or _quoted_node_id(details)
    if error.get("type") in ("missing_node_type", "invalid_prompt") and node_id in workflow.graph:
        node = workflow.graph[node_id]
        return MissingNodeClass(
            f"ComfyUI lacks the class {node.class_type} of {node.label} in the workflow {workflow.name}: "
            "install the custom nodes that provide it, or a newer ComfyUI."
        )
    return GenerationFailed(
        f"ComfyUI rejected the workflow {workflow.name}: {message}{f' ({details})' if details else ''}."
    )


def _quoted_node_id(details: str) -> str:
    match = re.search(r"Node ID '#([^']+)'", details)
    return match[1] if match else ""


def _node_errors(node_errors: Any) -> Iterator[_NodeError]:
    for node_id, entry in table(node_errors).items():
        for error in map(table, items(table(entry).get("errors"))):
            extra = table(error.get("extra_info"))
            yield _NodeError(
                node_id=node_id,
                type=str(error.get("type", "")),
                message=str(error.get("message", "")),
                details=str(error.get("details", "")),
                input_name=str(extra.get("input_name", "")),
                received_value=extra.get("received_value"),
                options=_options(items(extra.get("input_config"))),
            )


def _options(config: Sequence[Any]) -> tuple[Any, ...]:
    """Return a list's choices, in either form that ``/object_info`` has for them."""
    choices = (items(each) or items(table(each).get("options")) for each in config[:2])
    return tuple(next((found for found in choices if found), ()))


def _describe_node_error(workflow: Workflow, error: _NodeError) -> str:
    label = _label(workflow, error.node_id)
    if error.type == "value_not_in_list" and error.input_name:
        received = str(error.received_value)[:100]
        hint = f"; it takes {list_options(error.options)}" if error.options else ""
        return f"{label}: {error.input_name} can't be {received!r}{hint}"
    details = f": {_sanitize(error.details)}" if error.details else ""
    return f"{label}: {error.message.rstrip('.')}{details}"


def _label(workflow: Workflow, node_id: str) -> str:
    # A node of an expanded subgraph is named after the node that it came from.
    node = workflow.graph.get(node_id) or workflow.graph.get(node_id.partition(".")[0])
    return node.label if node else f"node {node_id or '?'}"


def _sanitize(text: str) -> str:
    """Return the text on one line, without the paths of ComfyUI's host."""
    line = " ".join(text.split())
    return _ABSOLUTE_PATH.sub(r"\g<name>", line)[:_MAX_LENGTH].rstrip(". ")
