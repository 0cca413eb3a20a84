"""What imports the core stays light: an API process without torch, a plugin author without a web server."""

import json
import pkgutil
import subprocess
import sys

import framegate.core

HEAVY = {"litestar", "dramatiq", "redis", "numpy", "torch", "av", "PIL", "pytest", "uvicorn"}
MODULES = sorted(module.name for module in pkgutil.iter_modules(framegate.core.__path__, "framegate.core."))


def imported_by(*modules: str) -> set[str]:
    """The top-level modules in a fresh interpreter after importing ``modules``."""
    code = f"import sys, json, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
    code += "print(json.dumps([name.split('.')[0] for name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(json.loads(done.stdout))


def test_the_core_imports_nothing_heavy() -> None:
    assert {"framegate.core.service", "framegate.core.testing"} <= set(MODULES)
    loaded = imported_by(*(name for name in MODULES if name != "framegate.core.testing"))
    assert "framegate" in loaded
    assert not loaded & HEAVY


def test_the_contract_tests_import_what_they_need_when_they_run() -> None:
    assert not imported_by("framegate.core.testing") & HEAVY


def test_specs_are_listed_without_their_backends() -> None:
    code = (
        "import sys\nfrom framegate.core.plugins import discover\n"
        "assert discover().models\nprint(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {name.split(".")[0] for name in done.stdout.split()} & HEAVY
