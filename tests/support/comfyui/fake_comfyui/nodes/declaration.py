"""Node classes: their inputs and outputs, as ``/object_info`` describes them, and their functions."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from msgspec import Struct
from msgspec.structs import replace
from PIL.Image import Image

from tests.support.comfyui.fake_comfyui.folders import Folders

MAX_SEED = 2**64 - 1


class Input(Struct, frozen=True):
    """One input; with ``choices`` it is a combo, in the old style (the list is the type) or as ``COMBO``."""

    type: str
    options: Mapping[str, Any] = {}
    choices: Callable[[Folders], Sequence[str]] | None = None
    is_old_style: bool = False
    required: bool = True

    def describe(self, folders: Folders) -> list[Any]:
        if self.choices is None:
            return [self.type, dict(self.options)]
        choices = list(self.choices(folders))
        if self.is_old_style:
            return [choices, dict(self.options)]
        return ["COMBO", {"multiselect": False, **self.options, "options": choices}]


class Run(Protocol):
    """A running prompt, seen from a node."""

    @property
    def folders(self) -> Folders: ...

    @property
    def prompt(self) -> Mapping[str, Any]:
        """The whole graph."""
        ...

    def step(self, value: int, total: int, preview: Image | None = None) -> None:
        """Report progress, with a preview if the client wants it; an interrupted prompt stops here."""
        ...


class UiOutput(Struct, frozen=True):
    """The result of an output node, as the history lists it."""

    ui: Mapping[str, Any]


NodeResult: TypeAlias = tuple[object, ...] | UiOutput


class NodeClass(Struct, frozen=True):
    name: str
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]
    run: Callable[..., NodeResult]
    is_output: bool
    v3: bool
    check: Callable[..., str | None] | None
    """``check(folders, **constants)`` returns what is wrong; its inputs are not compared with the combos."""
    fingerprint: Callable[..., str] | None

    @property
    def self_checked(self) -> frozenset[str]:
        """The inputs that ``check`` validates."""
        return frozenset(name for name, each in self.inputs.items() if self.check and _is_file(each))

    def inputs_for(self, values: Mapping[str, Any]) -> dict[str, Input]:
        """Return the inputs, with those of a dynamic combo's chosen option under dotted names."""
        found = dict(self.inputs)
        for name, each in self.inputs.items():
            if each.type != DYNAMIC:
                continue
            for option in each.options["options"]:
                if option["key"] == values.get(name):
                    for inner, (kind, options) in option["inputs"]["required"].items():
                        found[f"{name}.{inner}"] = Input(kind, options)
        return found

    def info(self, folders: Folders) -> dict[str, Any]:
        required = {name: each.describe(folders) for name, each in self.inputs.items() if each.required}
        optional = {name: each.describe(folders) for name, each in self.inputs.items() if not each.required}
        groups: dict[str, dict[str, Any]] = {"required": required}
        if optional:
            groups["optional"] = optional
        if self.is_output and self.v3:
            groups["hidden"] = {"prompt": ["PROMPT"], "extra_pnginfo": ["EXTRA_PNGINFO"]}
        description: dict[str, Any] = {
            "input": groups,
            "input_order": {group: list(names) for group, names in groups.items()},
            "is_input_list": False,
            "output": list(self.outputs),
            "output_is_list": [False] * len(self.outputs),
            "output_name": list(self.outputs),
            "name": self.name,
            "display_name": self.name,
            "description": "",
            "python_module": "comfy_extras.nodes" if self.v3 else "nodes",
            "category": "fake",
            "output_node": self.is_output,
            "has_intermediate_output": False,
            "search_aliases": [],
        }
        if self.v3:
            description |= {
                "output_tooltips": [None] * len(self.outputs),
                "output_matchtypes": None,
                "deprecated": False,
                "experimental": False,
                "dev_only": False,
                "api_node": False,
                "price_badge": None,
                "essentials_category": None,
            }
        return description


NODES: dict[str, NodeClass] = {}

DYNAMIC = "COMFY_DYNAMICCOMBO_V3"


def node(
    class_type: str,
    /,
    *returns: str,
    output: bool = False,
    v3: bool = True,
    check: Callable[..., str | None] | None = None,
    fingerprint: Callable[..., str] | None = None,
    **inputs: Input,
) -> Callable[[Callable[..., NodeResult]], Callable[..., NodeResult]]:
    def declare(run: Callable[..., NodeResult]) -> Callable[..., NodeResult]:
        NODES[class_type] = NodeClass(class_type, inputs, returns, run, output, v3, check, fingerprint)
        return run

    return declare


def link(kind: str) -> Input:
    return Input(kind)


def optional(each: Input) -> Input:
    return replace(each, required=False)


def integer(default: int, least: int, most: int, step: int = 1) -> Input:
    return Input("INT", {"default": default, "min": least, "max": most, "step": step})


def seed() -> Input:
    options = {"default": 0, "min": 0, "max": MAX_SEED, "control_after_generate": True}
    return Input("INT", options)


def number(default: float, least: float, most: float, step: float = 0.01) -> Input:
    return Input("FLOAT", {"default": default, "min": least, "max": most, "step": step})


def text(default: str = "", *, multiline: bool = False) -> Input:
    options = {"default": default} if default else {}
    return Input("STRING", {**options, "multiline": multiline})


def boolean(default: bool) -> Input:  # it is the value itself
    return Input("BOOLEAN", {"default": default})


def combo(*choices: str) -> Input:
    return Input("COMBO", {"default": choices[0]}, lambda _: choices)


def old_style_combo(*choices: str) -> Input:
    return Input("COMBO", {}, lambda _: choices, is_old_style=True)


def model_file(*kinds: str) -> Input:
    """A file in one of ``models/KIND``."""
    return Input("COMBO", {}, lambda folders: [name for kind in kinds for name in folders.models(kind)], True)


def uploaded(flag_name: str, *, is_old_style: bool = True) -> Input:
    """A file in ``input``, with the flag that names the kind of upload."""
    return Input("COMBO", {flag_name: True}, Folders.inputs, is_old_style)


def _is_file(each: Input) -> bool:
    return any(name.endswith("_upload") for name in each.options)


def metadata_text(prompt: Mapping[str, Any]) -> str:
    """Return what saving nodes write into their files."""
    return json.dumps(prompt)
