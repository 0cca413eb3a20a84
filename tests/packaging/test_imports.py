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


def test_the_api_process_decodes_nothing() -> None:
    """What clients send is decoded in processes of its own, so nothing that could do it is loaded here."""
    program = (
        "import sys, framegate.server.serve, framegate.media.ingest, framegate.media.variants\n"
        "from importlib import import_module\n"
        "from framegate.core.plugins import discover\n"
        "for spec in discover().dialects.values(): import_module(spec.factory.partition(':')[0])\n"
        "decoding = {'PIL', 'av', 'numpy', 'cv2'} & set(sys.modules)\n"
        "assert not decoding, decoding"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
