"""The routes that describe the server and its nodes."""

from typing import Any

from aiohttp import web

from tests.support.comfyui.fake_comfyui.folders import Folders
from tests.support.comfyui.fake_comfyui.nodes import images, ltx2, primitives, sampling, videos
from tests.support.comfyui.fake_comfyui.nodes.declaration import NODES
from tests.support.comfyui.fake_comfyui.settings import FEATURES, Settings

NODE_MODULES = (images, ltx2, primitives, sampling, videos)  # importing them declares their nodes


class InfoRoutes:
    def __init__(self, settings: Settings, folders: Folders) -> None:
        self._settings = settings
        self._folders = folders

    async def object_info(self, request: web.Request) -> web.Response:
        name = request.match_info["class_type"]
        return web.json_response({name: NODES[name].info(self._folders)} if name in NODES else {})

    async def all_object_info(self, request: web.Request) -> web.Response:
        return web.json_response({name: node.info(self._folders) for name, node in NODES.items()})

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response(self._folders.models(request.match_info["kind"]))

    async def page(self, request: web.Request) -> web.Response:
        """The web pages are served from the root: other methods on unknown paths get 405."""
        return web.Response(status=404)

    async def system_stats(self, request: web.Request) -> web.Response:
        memory = {"ram_total": 25276514304, "ram_free": 21893738496}
        packages = ("comfyui-frontend-package", "comfyui-workflow-templates")
        device = dict.fromkeys(
            ("vram_total", "vram_free", "torch_vram_total", "torch_vram_free"), 25276514304
        )
        system: dict[str, Any] = {
            "os": "linux",
            **memory,
            "comfyui_version": self._settings.version,
            "required_frontend_version": "1.45.15",
            "installed_templates_version": "0.9.98",
            "required_templates_version": "0.9.98",
            "comfy_package_versions": [
                {"name": name, "installed": "1.0.0", "required": "1.0.0"} for name in packages
            ],
            "python_version": "3.11.7",
            "pytorch_version": "2.13.0+cpu",
            "embedded_python": False,
            "deploy_environment": "local-git",
            "argv": self._settings.argv,
        }
        return web.json_response(
            {"system": system, "devices": [{"name": "cpu", "type": "cpu", "index": None, **device}]}
        )

    async def features(self, request: web.Request) -> web.Response:
        return web.json_response(FEATURES)
