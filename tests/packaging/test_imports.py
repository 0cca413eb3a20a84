"""What a process imports: no model libraries in the API, nothing heavy to list plugins."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.smoke


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
