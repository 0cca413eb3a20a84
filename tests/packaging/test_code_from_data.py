"""Nothing in the sources turns data into code: pickles, `eval`, remote code of models."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent
LOADERS = {"from_pretrained", "load_lora_weights"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml"}


def sources() -> list[Path]:
    found = [*REPOSITORY.glob("core/src/**/*.py")]
    for kind in ("adapters", "plugins"):
        found += REPOSITORY.glob(f"{kind}/*/src/**/*.py")
    return found


def findings(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name.split(".")[0] in FORBIDDEN_MODULES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in FORBIDDEN_MODULES:
                yield module
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                yield f"{name}()"
            case ast.Call(func=ast.Attribute(attr=name), keywords=keywords):
                given = {word.arg: ast.unparse(word.value) for word in keywords}
                loads = name in LOADERS or ast.unparse(node.func) == "DiffusionPipeline.download"
                if loads and given.get("use_safetensors") != "True":
                    yield f"{name}() without use_safetensors=True"
                if given.get("trust_remote_code", "False") != "False":
                    yield f"{name}() with trust_remote_code"
                if ast.unparse(node.func) == "torch.load" and given.get("weights_only") != "True":
                    yield "torch.load() without weights_only=True"
            case _:
                pass


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from yaml import load",
        "eval(text)",
        "DiffusionPipeline.from_pretrained(folder)",
        "AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=True)",
        "DiffusionPipeline.download(source)",
        "pipeline.load_lora_weights(file)",
        "torch.load(file)",
    ],
)
def test_the_search_finds_it(text: str) -> None:
    assert list(findings(text))


def test_no_source_turns_data_into_code() -> None:
    files = sources()
    assert len(files) > 300
    found = {
        str(file.relative_to(REPOSITORY)): places
        for file in files
        if (places := list(findings(file.read_text(encoding="utf-8"))))
    }
    assert found == {}
