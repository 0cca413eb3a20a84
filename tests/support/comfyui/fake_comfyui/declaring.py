"""What a node class is: its inputs and outputs, as ``/object_info`` tells them, and what it does."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from msgspec import Struct
from msgspec.structs import replace
from PIL.Image import Image

from tests.support.comfyui.fake_comfyui.folders import Folders

MAX_SEED = 2**64 - 1


class Input(Struct, frozen=True):
    """``choices`` makes it a combo, listed the old way (the list is the type) or as ``COMBO``."""

    type: str
    options: Mapping[str, Any] = {}
    choices: Callable[[Folders], Sequence[str]] | None = None
    listed_old_way: bool = False
    required: bool = True

    def told(self, folders: Folders) -> list[Any]:
        if self.choices is None:
            return [self.type, dict(self.options)]
        choices = list(self.choices(folders))
        if self.listed_old_way:
            return [choices, dict(self.options)]
        return ["COMBO", {"multiselect": False, **self.options, "options": choices}]


class Run(Protocol):
    """A prompt that is being run, seen from a node."""

    @property
    def folders(self) -> Folders: ...

    @property
    def prompt(self) -> Mapping[str, Any]:
        """The whole graph."""
        ...

    def step(self, value: int, total: int, preview: Image | None = None) -> None:
        """Tell progress, and how it looks so far if that is wanted; an interrupted prompt is left here."""
        ...


class Shown(Struct, frozen=True):
    """What an output node made, as the history tells it."""

    ui: Mapping[str, Any]


Made: TypeAlias = tuple[object, ...] | Shown


class NodeClass(Struct, frozen=True):
    name: str
    inputs: Mapping[str, Input]
    outputs: tuple[str, ...]
    run: Callable[..., Made]
    is_output: bool
    v3: bool
    check: Callable[..., str | None] | None
    """``check(folders, **constants)`` says what is wrong; its inputs aren't held against the combos."""
    fingerprint: Callable[..., str] | None

    @property
    def own_checks(self) -> frozenset[str]:
        """The inputs that ``check`` looks after."""
        return frozenset(name for name, each in self.inputs.items() if self.check and _is_file(each))

    def inputs_for(self, values: Mapping[str, Any]) -> dict[str, Input]:
        """With those that a dynamic combo's choice brings along, under dotted names."""
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
        required = {name: each.told(folders) for name, each in self.inputs.items() if each.required}
        optional = {name: each.told(folders) for name, each in self.inputs.items() if not each.required}
        groups: dict[str, dict[str, Any]] = {"required": required}
        if optional:
            groups["optional"] = optional
        if self.is_output and self.v3:
            groups["hidden"] = {"prompt": ["PROMPT"], "extra_pnginfo": ["EXTRA_PNGINFO"]}
        told: dict[str, Any] = {
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
            told |= {
                "output_tooltips": [None] * len(self.outputs),
                "output_matchtypes": None,
                "deprecated": False,
                "experimental": False,
                "dev_only": False,
                "api_node": False,
                "price_badge": None,
                "essentials_category": None,
            }
        return told


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
) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    def declare(run: Callable[..., Made]) -> Callable[..., Made]:
        NODES[class_type] = NodeClass(class_type, inputs, returns, run, output, v3, check, fingerprint)
        return run

    return declare


def link(kind: str) -> Input:
    return Input(kind)


def optional(each: Input) -> Input:
    return replace(each, required=False)


def whole(default: int, least: int, most: int, step: int = 1) -> Input:
    return Input("INT", {"default": default, "min": least, "max": most, "step": step})


def seed() -> Input:
    options = {"default": 0, "min": 0, "max": MAX_SEED, "control_after_generate": True}
    return Input("INT", options)


def number(default: float, least: float, most: float, step: float = 0.01) -> Input:
    return Input("FLOAT", {"default": default, "min": least, "max": most, "step": step})


def text(default: str = "", *, multiline: bool = False) -> Input:
    options = {"default": default} if default else {}
    return Input("STRING", {**options, "multiline": multiline})


def flag(default: bool) -> Input:  # it is the value itself
    return Input("BOOLEAN", {"default": default})


def combo(*choices: str) -> Input:
    return Input("COMBO", {"default": choices[0]}, lambda _: choices)


def old_combo(*choices: str) -> Input:
    return Input("COMBO", {}, lambda _: choices, listed_old_way=True)


def model_file(*kinds: str) -> Input:
    """A file in one of ``models/KIND``."""
    return Input("COMBO", {}, lambda folders: [name for kind in kinds for name in folders.models(kind)], True)


def uploaded(flag_name: str, *, listed_old_way: bool = True) -> Input:
    """A file in ``input``, with the flag that says what an upload to it is."""
    return Input("COMBO", {flag_name: True}, Folders.inputs, listed_old_way)


def _is_file(each: Input) -> bool:
    return any(name.endswith("_upload") for name in each.options)
