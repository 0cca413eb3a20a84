"""The distributions as they are installed, not as they lie in the checkout."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def core_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has framegate-core and what it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    constraints = REPOSITORY / "constraints.txt"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-c", constraints, REPOSITORY / "core"],
        check=True,
        capture_output=True,
    )
    return python


def test_core_alone_imports_whole(core_alone: Path) -> None:
    program = (
        "import importlib, pkgutil, sys, framegate.core as core\n"
        "for module in pkgutil.walk_packages(core.__path__, 'framegate.core.'):\n"
        "    importlib.import_module(module.name)\n"
        "heavy = {'litestar', 'dramatiq', 'redis', 'numpy', 'torch', 'av', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from framegate.core.plugins import discover\n"
        "assert discover().models == {}\n"
    )
    subprocess.run([core_alone, "-c", program], check=True, env=_without_checkout())


def test_core_ships_its_types(core_alone: Path) -> None:
    program = (
        "from pathlib import Path; import framegate.core as c; "
        "assert (Path(c.__path__[0]) / 'py.typed').exists()"
    )
    subprocess.run([core_alone, "-c", program], check=True, env=_without_checkout())


@pytest.mark.parametrize("module", ["framegate.server.app", "framegate.cli.app_context"])
def test_api_process_imports_no_model_library(module: str) -> None:
    program = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'onnxruntime', 'dramatiq'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_discovery_imports_no_backend() -> None:
    program = (
        "import sys; from framegate.core.plugins import discover; plugins = discover()\n"
        "assert 'preview' in plugins.models and 'lightx2v' in plugins.dialects\n"
        "heavy = {'numpy', 'PIL', 'av', 'litestar', 'redis'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def _without_checkout() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
