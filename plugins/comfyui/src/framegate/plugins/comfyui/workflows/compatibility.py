"""Whether a workflow fits the nodes and the model files of a server."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

from framegate.plugins.comfyui.workflows.bindings import bind_parameters
from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.graph import Node, is_link
from framegate.plugins.comfyui.workflows.node_schema import InputSchema, NodeSchema
from framegate.plugins.comfyui.workflows.workflow import Workflow

_MAX_OPTIONS = 12
_MODEL_FILE = re.compile(r".+\.(safetensors|sft|ckpt|pt2?|pth|bin|gguf|onnx|engine)", re.IGNORECASE)


def find_incompatibilities(workflow: Workflow, schema: Mapping[str, NodeSchema]) -> Iterator[str]:
    """Yield a phrase for each way in which the workflow does not fit a server's nodes.

    Each names the node, its title and what would fit. Missing model files are not among them.
    """
    missing_classes = sorted(workflow.class_types - schema.keys())
    if missing_classes:
        yield f"it lacks the nodes {', '.join(missing_classes)}"
    try:
        parameters = bind_parameters(workflow.graph, schema)
    except WorkflowError as error:
        yield error.reason
        return
    set_by_requests = {(each.node, each.input) for each in parameters if each.key is not None}
    for node in workflow.graph.values():
        if declared := schema.get(node.class_type):
            for name, spec in declared.inputs.items():
                if (node.id, name) in set_by_requests:
                    continue
                if reason := _find_incompatibility(node, name, spec):
                    yield f"{node.label}: {reason}"


def find_missing_files(workflow: Workflow, schema: Mapping[str, NodeSchema]) -> dict[str, list[str]]:
    """Return the model files that a server lacks, each with the labels of the nodes that name it."""
    missing: dict[str, list[str]] = {}
    for node in workflow.graph.values():
        if declared := schema.get(node.class_type):
            for name, spec in declared.inputs.items():
                if _is_missing_file(node.inputs.get(name), spec):
                    missing.setdefault(node.inputs[name], []).append(node.label)
    return missing


def describe_missing_files(server: str, workflow: str, missing: Mapping[str, Iterable[str]]) -> str:
    """Return a message that lists missing model files, each with the labels of the nodes that name it."""
    noun = "a model file" if len(missing) == 1 else f"{len(missing)} model files"
    listed = "; ".join(f"{file}, for {' and '.join(dict.fromkeys(nodes))}" for file, nodes in missing.items())
    return (
        f"{server} lacks {noun} that the workflow {workflow} needs: {listed}. Put what is missing into its "
        "models folder, or change the workflow."
    )


def is_model_file(value: Any) -> TypeGuard[str]:
    """Return whether an input's value names a model file."""
    return isinstance(value, str) and _MODEL_FILE.fullmatch(value) is not None


def list_options(options: tuple[Any, ...]) -> str:
    """Return the first options of a list for a message, and the number of those left out."""
    listed = ", ".join(str(option) for option in options[:_MAX_OPTIONS])
    left_out = len(options) - _MAX_OPTIONS
    return f"{listed} and {left_out} more" if left_out > 0 else listed


def _is_missing_file(value: Any, spec: InputSchema) -> bool:
    return is_model_file(value) and spec.options is not None and not spec.upload and value not in spec.options


def _find_incompatibility(node: Node, name: str, spec: InputSchema) -> str:
    if name not in node.inputs:
        return f"its input {name} is missing" if spec.required else ""
    value: Any = node.inputs[name]
    if is_link(value) or spec.upload or _is_missing_file(value, spec):
        return ""
    if spec.options is not None and value not in spec.options:
        return f"{name} is {value!r}; it takes {list_options(spec.options) or 'nothing'}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if spec.min is not None and value < spec.min:
            return f"{name} is {value:g}; it takes {spec.min:g} or more"
        if spec.max is not None and value > spec.max:
            return f"{name} is {value:g}; it takes {spec.max:g} or less"
    return ""
