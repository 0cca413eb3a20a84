"""The routes that give and take files."""

import mimetypes
from pathlib import PurePosixPath

from aiohttp import web
from aiohttp.web_request import FileField

from tests.support.comfyui.fake_comfyui.folders import KINDS, Folders


class FileRoutes:
    def __init__(self, folders: Folders) -> None:
        self._folders = folders

    async def view(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("filename", "")
        kind = request.query.get("type", "output")
        if not name:
            return web.Response(status=404)
        if name.startswith("/") or ".." in name or kind not in KINDS:
            return web.Response(status=400)
        root = self._folders.of(kind).resolve()
        folder = (root / request.query.get("subfolder", "")).resolve()
        if not folder.is_relative_to(root):
            return web.Response(status=403)
        path = folder / PurePosixPath(name).name
        if not path.is_file():
            return web.Response(status=404)
        headers = {
            "Content-Disposition": f'filename="{path.name}"',
            "Content-Type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        }
        return web.FileResponse(path, headers=headers)

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form.get("image")
        kind, subfolder = str(form.get("type", "input")), str(form.get("subfolder", ""))
        if not isinstance(file, FileField) or not file.filename or kind not in KINDS:
            return web.Response(status=400)
        root = self._folders.of(kind).resolve()
        path = (root / subfolder / file.filename).resolve()
        if not path.is_relative_to(root):
            return web.Response(status=400)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = file.file.read()
        if form.get("overwrite") not in {"true", "1"}:
            copy, first = 1, path
            while path.exists() and path.read_bytes() != content:
                path = first.with_name(f"{first.stem} ({copy}){first.suffix}")
                copy += 1
        path.write_bytes(content)
        return web.json_response({"name": path.name, "subfolder": subfolder, "type": kind})
