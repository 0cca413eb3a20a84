"""Options in the config, and what the log says of those that need CUDA."""

from pathlib import Path
from typing import Any

import pytest

from framegate.core.errors import ConfigError
from framegate.core.options import parse_table
from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from framegate.plugins.diffusers.options import Options
from tests.support.tiny_models import AnyWanBackend, LoadTiny, generate, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"offlod": "none"}, "offlod"),
        (
            {"offload": "disk"},
            r'^options\.offload: "disk" is not "auto" or "group" or "model" or "none" or "text-encoder"\.$',
        ),
        ({"cache_threshold": 0.0}, "options.cache_threshold"),
        ({"loras": [{"strength": 1.0}]}, r"options.loras\[0\].*source"),
        ({"warm_up": ["large"]}, r"options.warm_up\[0\]"),
        (
            {"weights": {"transformer_2": "low.gguf"}, "quantize": "int8-weights"},
            "quantize is 'int8-weights', but weights.transformer_2 is a .gguf file.*leave quantize out",
        ),
    ],
)
def test_wrong_options_are_named(raw: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_table("options", raw, Options)


@pytest.mark.parametrize(
    "raw",
    [
        {"weights": {"transformer": "w.gguf"}},
        {"weights": {"vae": "v.gguf", "transformer": "w.safetensors"}, "quantize": "fp8-layerwise"},
    ],
)
def test_only_quantised_transformers_are_not_quantised_again(raw: dict[str, Any]) -> None:
    parse_table("options", raw, Options)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("offload", "group", "the device is cpu, not CUDA"),
        ("attention", "sage", "sage needs CUDA"),
        ("compile", True, "the device is cpu, not CUDA"),
        ("quantize", "fp8", "the weights alone are quantised"),
    ],
)
def test_what_needs_cuda_says_why_it_is_not_used(
    load_wan: LoadTiny[AnyWanBackend],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    option: str,
    value: Any,
    words: str,
) -> None:
    backend = load_wan("wan21_t2v", **{option: value})
    assert words in capfd.readouterr().out
    assert len(generate(backend, small_shot(Task.TEXT_TO_VIDEO), RecordingContext(tmp_path))) == 9
