"""What is said of model files that a server lacks."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

_MODEL_FILE = re.compile(r".+\.(safetensors|sft|ckpt|pt2?|pth|bin|gguf|onnx|engine)", re.IGNORECASE)


def is_model_file(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and _MODEL_FILE.fullmatch(value) is not None


def lacking(server: str, workflow: str, places: Mapping[str, Iterable[str]]) -> str:
    """``places`` are the missing files, each with the nodes that name it."""
    noun = "a model file" if len(places) == 1 else f"{len(places)} model files"
    listed = "; ".join(f"{file}, for {' and '.join(dict.fromkeys(nodes))}" for file, nodes in places.items())
    return (
        f"{server} lacks {noun} that the workflow {workflow} needs: {listed}. Put what is missing into its "
        "models folder, or change the workflow."
    )
