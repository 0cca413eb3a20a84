"""What ``POST /prompt`` rejects, in ComfyUI's own words."""

import traceback
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tests.support.comfyui.fake_comfyui.folders import Folders
from tests.support.comfyui.fake_comfyui.nodes.declaration import DYNAMIC, NODES, Input, NodeClass

CONVERSIONS = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}

ErrorEntry = dict[str, Any]


class ValidationResult(Struct, frozen=True):
    """``error`` is why nothing will run; otherwise ``outputs`` are the nodes that will."""

    outputs: list[str]
    error: ErrorEntry | None
    node_errors: dict[str, ErrorEntry]


def is_link(value: object) -> bool:
    return isinstance(value, list)


def check(prompt: Mapping[str, Any], folders: Folders) -> ValidationResult:
    """Validate a prompt, converting its numbers and texts in place to the types of their inputs.

    Raises:
        TypeError: The prompt is not a graph in API format.
    """
    for node_id, node in prompt.items():
        if "class_type" not in node:
            message = "Cannot execute because a node is missing the class_type property."
            return reject("invalid_prompt", message, f"Node ID '#{node_id}'")
        class_type = node["class_type"]
        if class_type not in NODES:
            title = node.get("_meta", {}).get("title", class_type)
            extra = {"node_id": node_id, "class_type": class_type, "node_title": title}
            message = f"Node '{title}' not found. The custom node may not be installed."
            return reject("missing_node_type", message, f"Node ID '#{node_id}'", extra)
    outputs = [node_id for node_id, node in prompt.items() if NODES[node["class_type"]].is_output]
    if not outputs:
        return reject("prompt_no_outputs", "Prompt has no outputs", "")
    checker = _Checker(prompt, folders)
    valid = [node_id for node_id in outputs if checker.accepts(node_id)]
    node_errors = {
        node_id: {
            "errors": problems,
            "dependent_outputs": [
                output for output in outputs if output not in valid and node_id in checker.ancestors(output)
            ],
            "class_type": prompt[node_id]["class_type"],
        }
        for node_id, problems in checker.problems.items()
        if problems
    }
    if valid:
        return ValidationResult(valid, None, node_errors)
    own = [problem for output in outputs for problem in checker.problems[output]]
    details = "\n".join(f"{problem['message']}: {problem['details']}" for problem in own)
    refusal = reject("prompt_outputs_failed_validation", "Prompt outputs failed validation", details)
    return ValidationResult([], refusal.error, node_errors)


def reject(kind: str, message: str, details: str, extra: ErrorEntry | None = None) -> ValidationResult:
    return ValidationResult([], _error_entry(kind, message, details, **(extra or {})), {})


def _error_entry(kind: str, message: str, details: str, **extra: object) -> ErrorEntry:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


class _Checker:
    def __init__(self, prompt: Mapping[str, Any], folders: Folders) -> None:
        self._prompt = prompt
        self._folders = folders
        self._accepted: dict[str, bool] = {}
        self.problems: dict[str, list[ErrorEntry]] = {}

    def ancestors(self, node_id: str) -> set[str]:
        found = {node_id}
        left = [node_id]
        while left:
            for value in self._prompt[left.pop()]["inputs"].values():
                if is_link(value) and value and value[0] in self._prompt and value[0] not in found:
                    found.add(value[0])
                    left.append(value[0])
        return found

    def accepts(self, node_id: str) -> bool:
        """Return whether the node and all before it can run; ``problems`` has the reasons if not."""
        if node_id in self._accepted:
            return self._accepted[node_id]
        self._accepted[node_id] = False  # for cycles
        problems: list[ErrorEntry] = []
        try:
            is_valid_upstream = self._check_inputs(node_id, problems)
        except Exception as error:
            is_valid_upstream = False
            problems[:] = [
                _error_entry(
                    "exception_during_validation",
                    "Exception when validating node",
                    str(error),
                    exception_type=type(error).__qualname__,
                    traceback=traceback.format_tb(error.__traceback__),
                )
            ]
        self.problems[node_id] = problems
        self._accepted[node_id] = is_valid_upstream and not problems
        return self._accepted[node_id]

    def _check_inputs(self, node_id: str, problems: list[ErrorEntry]) -> bool:
        values = self._prompt[node_id]["inputs"]
        node = NODES[self._prompt[node_id]["class_type"]]
        is_valid_upstream = True
        for name, each in node.inputs_for(values).items():
            config = [each.type, dict(each.options)] if each.choices is None else each.describe(self._folders)
            if name not in values:
                if each.required:
                    message = "Required input is missing"
                    problems.append(_error_entry("required_input_missing", message, name, input_name=name))
            elif is_link(values[name]):
                is_valid_upstream = (
                    self._check_link(name, each, config, values[name], problems) and is_valid_upstream
                )
            else:
                wrong = self._wrong_constant(
                    name, each, config, values, in_list=name not in node.self_checked
                )
                if wrong:
                    problems.append(wrong)
        problems.extend(self._custom(node, values))
        return is_valid_upstream

    def _check_link(
        self, name: str, each: Input, config: list[Any], value: list[Any], problems: list[ErrorEntry]
    ) -> bool:
        if len(value) != 2:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            extra = {"input_name": name, "input_config": config, "received_value": value}
            problems.append(_error_entry("bad_linked_input", message, name, **extra))
            return True
        source, slot = str(value[0]), int(value[1])
        received = NODES[self._prompt[source]["class_type"]].outputs[slot]
        if "*" not in {received, each.type} and received not in each.type.split(","):
            details = f"{name}, received_type({received}) mismatch input_type({each.type})"
            message = "Return type mismatch between linked nodes"
            extra = {"input_name": name, "input_config": config, "received_type": received}
            problems.append(
                _error_entry("return_type_mismatch", message, details, **extra, linked_node=value)
            )
            return True
        return self.accepts(source)

    def _wrong_constant(
        self, name: str, each: Input, config: list[Any], values: dict[str, Any], *, in_list: bool
    ) -> ErrorEntry | None:
        value = values[name]
        extra: ErrorEntry = {"input_name": name, "input_config": config, "received_value": value}
        convert = CONVERSIONS.get(each.type)
        if convert is not None:
            try:
                values[name] = value = convert(value)
            except (ValueError, TypeError) as error:
                message = f"Failed to convert an input value to a {each.type} value"
                details = f"{name}, {value}, {error}"
                return _error_entry(
                    "invalid_input_type", message, details, **extra, exception_message=str(error)
                )
        extra["received_value"] = value
        least, most = each.options.get("min"), each.options.get("max")
        if least is not None and value < least:
            return _error_entry(
                "value_smaller_than_min", f"Value {value} smaller than min of {least}", name, **extra
            )
        if most is not None and value > most:
            return _error_entry(
                "value_bigger_than_max", f"Value {value} bigger than max of {most}", name, **extra
            )
        choices = None
        if each.choices is not None and in_list:
            choices = list(each.choices(self._folders))
        elif each.type == DYNAMIC:
            choices = [option["key"] for option in each.options["options"]]
        if choices is None or value in choices:
            return None
        listed = str(choices)
        if len(choices) > 20:
            listed, extra["input_config"] = f"(list of length {len(choices)})", None
        return _error_entry(
            "value_not_in_list", "Value not in list", f"{name}: '{value}' not in {listed}", **extra
        )

    def _custom(self, node: NodeClass, values: Mapping[str, Any]) -> list[ErrorEntry]:
        given = {
            name: values[name] for name in node.self_checked if name in values and not is_link(values[name])
        }
        if node.check is None or not given:
            return []
        wrong = node.check(self._folders, **given)
        message = "Custom validation failed for node"
        return [
            _error_entry("custom_validation_failed", message, f"{name} - {wrong}", input_name=name)
            for name in given
            if wrong
        ]
