"""ComfyUI's errors as ours, with the titles of the nodes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from framegate.core.errors import GenerationError, GenerationFailed, OutOfMemory
from framegate.plugins.comfyui.json_access import items, table
from framegate.plugins.comfyui.workflows.model_files import is_model_file, lacking
from framegate.plugins.comfyui.workflows.workflow import Workflow

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
    complaints = list(_complaints(table(body).get("node_errors")))
    missing: dict[str, list[str]] = {}
    for item in complaints:
        if item.type == "value_not_in_list" and is_model_file(item.received):
            missing.setdefault(item.received, []).append(_label(workflow, item.node))
    if missing:
        return MissingFiles(lacking("ComfyUI", workflow.name, missing))
    if complaints:
        said = "; ".join(dict.fromkeys(_sentence(workflow, item) for item in complaints))
        return GenerationFailed(f"ComfyUI refuses the workflow {workflow.name}: {said}."[:2000])
    return _general(workflow, table(table(body).get("error")))


def blocks_output(workflow: Workflow, body: Any) -> bool:
    """Is the result among what a partly accepted prompt leaves out?"""
    errors = table(table(body).get("node_errors")).values()
    return any(workflow.output in items(table(error).get("dependent_outputs")) for error in errors)


def execution_error(workflow: Workflow, data: Mapping[str, Any]) -> GenerationError:
    """What an ``execution_error`` event means."""
    kind, message = str(data.get("exception_type", "")), str(data.get("exception_message", ""))
    where = _label(workflow, str(data.get("node_id", "")))
    if _MEMORY.search(kind) or _MEMORY.search(message):
        return OutOfMemory(
            f"ComfyUI ran out of memory in {where}; ask for a smaller size, fewer frames or fewer steps."
        )
    return GenerationFailed(f"ComfyUI failed in {where}: {_clean(message) or kind or 'it does not say why'}.")


def _general(workflow: Workflow, error: Mapping[str, Any]) -> GenerationError:
    if not error:
        return GenerationFailed(f"ComfyUI refuses the workflow {workflow.name}, and does not say why.")
    extra = table(error.get("extra_info"))
    message = _clean(str(error.get("message", "")))
    details = _clean(str(error.get("details", "")))
    # Older servers call it invalid_prompt and name the node in the details alone: "Node ID '#5'".
    named = str(extra.get("node_id") or "") or _quoted_id(details)
    if error.get("type") in ("missing_node_type", "invalid_prompt") and named in workflow.graph:
        node = workflow.graph[named]
        return MissingNodes(
            f"ComfyUI does not know the class {node.class_type} of {node.label} in the workflow "
            f"{workflow.name}: install the custom nodes that it is from, or a newer ComfyUI."
        )
    return GenerationFailed(
        f"ComfyUI refuses the workflow {workflow.name}: {message}{f' ({details})' if details else ''}."
    )


def _quoted_id(details: str) -> str:
    match = re.search(r"Node ID '#([^']+)'", details)
    return match[1] if match else ""


def _complaints(node_errors: Any) -> Iterator[_Complaint]:
    for node_id, entry in table(node_errors).items():
        for error in map(table, items(table(entry).get("errors"))):
            extra = table(error.get("extra_info"))
            yield _Complaint(
                node=node_id,
                type=str(error.get("type", "")),
                message=str(error.get("message", "")),
                details=str(error.get("details", "")),
                input=str(extra.get("input_name", "")),
                received=extra.get("received_value"),
                options=_options(items(extra.get("input_config"))),
            )


def _options(config: Sequence[Any]) -> tuple[Any, ...]:
    """The choices of a list, written as `/object_info` writes them."""
    choices = (items(each) or items(table(each).get("options")) for each in config[:2])
    return tuple(next((found for found in choices if found), ()))


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
