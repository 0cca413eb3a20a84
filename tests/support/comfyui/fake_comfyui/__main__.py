"""``python -m tests.support.comfyui.fake_comfyui --port PORT --base FOLDER``."""

import argparse
from pathlib import Path

from aiohttp import web

from tests.support.comfyui.fake_comfyui.app import Server
from tests.support.comfyui.fake_comfyui.settings import Settings

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--base", type=Path, required=True)
parser.add_argument("--token", default="")
parser.add_argument("--newer", action="store_true")
parser.add_argument("--older", action="store_true")
parser.add_argument("--preview-method", default="")
parser.add_argument("--hold", default="")
given = parser.parse_args()
web.run_app(
    Server(
        Settings(given.base, given.token, given.newer, given.older, given.preview_method, given.hold)
    ).app(),
    host="127.0.0.1",
    port=given.port,
    shutdown_timeout=1,
)
