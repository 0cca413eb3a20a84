"""Nodes that hold a constant, and the one that shows any."""

import json

from tests.support.comfyui.fake_comfyui.nodes.declaration import (
    Input,
    NodeResult,
    Run,
    UiOutput,
    boolean,
    link,
    node,
    text,
)

LARGEST = 2**63 - 1


@node("PrimitiveInt", "INT", value=Input("INT", {"min": -LARGEST, "max": LARGEST}))
def primitive_int(run: Run, value: int) -> NodeResult:
    return (value,)


@node("PrimitiveFloat", "FLOAT", value=Input("FLOAT", {"min": -LARGEST, "max": LARGEST}))
def primitive_float(run: Run, value: float) -> NodeResult:
    return (value,)


@node("PrimitiveBoolean", "BOOLEAN", value=boolean(default=False))
def primitive_boolean(run: Run, value: bool) -> NodeResult:  # called by name
    return (value,)


@node("PrimitiveString", "STRING", value=text())
def primitive_string(run: Run, value: str) -> NodeResult:
    return (value,)


@node("PrimitiveStringMultiline", "STRING", value=text(multiline=True))
def primitive_string_multiline(run: Run, value: str) -> NodeResult:
    return (value,)


@node(
    "StringConcatenate",
    "STRING",
    string_a=text(multiline=True),
    string_b=text(multiline=True),
    delimiter=text(),
)
def string_concatenate(run: Run, string_a: str, string_b: str, delimiter: str) -> NodeResult:
    return (delimiter.join((string_a, string_b)),)


@node("PreviewAny", output=True, source=link("*"))
def preview_any(run: Run, source: object) -> NodeResult:
    return UiOutput({"text": [source if isinstance(source, str) else json.dumps(source)]})
