"""The HTTP interface. Every route is there twice, the second time under ``/api``."""

import asyncio
import hmac
import mimetypes
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.web_request import FileField
from msgspec import Struct, convert, to_builtins

from tests.support.comfyui.fake_comfyui import ltx2, pictures, primitives, stills, videos
from tests.support.comfyui.fake_comfyui.checking import check, refused
from tests.support.comfyui.fake_comfyui.controls import Asked, Controls, HttpFault, NodeFailure
from tests.support.comfyui.fake_comfyui.declaring import NODES
from tests.support.comfyui.fake_comfyui.engine import Engine
from tests.support.comfyui.fake_comfyui.folders import KINDS, Folders
from tests.support.comfyui.fake_comfyui.sockets import Connection, Sockets

NODE_MODULES = (ltx2, pictures, primitives, stills, videos)  # importing them declares their nodes

MAX_UPLOAD = 100 * 1024 * 1024
FEATURES = {
    "supports_preview_metadata": True,
    "max_upload_size": MAX_UPLOAD,
    "extension": {"manager": {"supports_v4": True}},
    "node_replacements": True,
    "assets": False,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Settings(Struct, frozen=True):
    """``token``: what a bearer has to show. ``newer``: with what ComfyUI has learnt after 0.24; ``older``:
    without what it has learnt since 0.3.40 of previews. ``preview_method``: what it is started with.
    ``hold``: the node class before which it holds prompts from the start."""

    base: Path
    token: str = ""
    newer: bool = False
    older: bool = False
    preview_method: str = ""
    hold: str = ""

    @property
    def version(self) -> str:
        if self.older:
            return "0.3.40"
        return "0.38.0" if self.newer else "0.24.0"

    @property
    def argv(self) -> list[str]:
        method = ["--preview-method", self.preview_method] if self.preview_method else []
        return ["main.py", "--cpu", *method]


class Server:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folders = Folders(settings.base)
        self._controls = Controls()
        if settings.hold:
            self._controls.hold(settings.hold)
        self._number = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_UPLOAD, middlewares=[self._gate])
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "/ws", self._websocket),
            ("GET", "/prompt", self._remaining),
            ("POST", "/prompt", self._post_prompt),
            ("GET", "/queue", self._get_queue),
            ("POST", "/queue", self._post_queue),
            ("POST", "/interrupt", self._interrupt),
            ("GET", "/history", self._whole_history),
            ("POST", "/history", self._post_history),
            ("GET", "/history/{prompt_id}", self._history),
            ("POST", "/free", self._free),
            ("GET", "/view", self._view),
            ("POST", "/upload/image", self._upload),
            ("GET", "/object_info", self._all_object_info),
            ("GET", "/object_info/{class_type}", self._object_info),
            ("GET", "/models/{kind}", self._models),
            ("GET", "/system_stats", self._system_stats),
            ("GET", "/features", self._features),
        ]
        for method, path, handler in routes:
            app.router.add_route(method, path, handler)
            app.router.add_route(method, f"/api{path}", handler)
        app.router.add_get("/api/jobs/{prompt_id}", self._job)
        if self._settings.newer:
            app.router.add_post("/api/jobs/{prompt_id}/cancel", self._cancel_job)
        app.router.add_get("/fake/state", self._fake_state)
        app.router.add_get("/fake/requests", self._fake_requests)
        app.router.add_post("/fake/{action}", self._fake)
        app.router.add_get("/{path:.*}", self._page)
        app.cleanup_ctx.append(self._running)
        return app

    async def _running(self, app: web.Application) -> AsyncIterator[None]:
        self._sockets = Sockets()
        self._engine = Engine(
            self._folders,
            self._sockets,
            self._controls,
            preview_method=self._settings.preview_method or "none",
            older=self._settings.older,
        )
        self._engine.start()
        delivery = asyncio.create_task(self._sockets.deliver())
        yield
        delivery.cancel()
        await self._sockets.close()

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/fake/"):
            return await handler(request)
        self._controls.asked.append(await _asked(request))
        fault = self._controls.fault_at(request.path)
        if fault is not None and fault.delay:
            await asyncio.sleep(fault.delay)
            fault = None
        if fault is not None and not fault.after:
            return _broken(request, fault)
        wanted = f"Bearer {self._settings.token}"
        shown = request.headers.get("Authorization", "")
        if self._settings.token and not hmac.compare_digest(shown.encode(), wanted.encode()):
            return web.Response(status=401, text="Unauthorized")
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != request.host:
            return web.Response(status=403)
        answer = await handler(request)
        return answer if fault is None else _broken(request, fault)

    # Prompts

    async def _post_prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "prompt" not in body:
            verdict = refused("no_prompt", "No prompt provided", "No prompt provided")
            return web.json_response({"error": verdict.error, "node_errors": {}}, status=400)
        prompt_id = body.get("prompt_id", str(uuid.uuid4()))
        if not _is_canonical(prompt_id):
            verdict = refused("invalid_prompt_id", "prompt_id must be a canonical UUID", str(prompt_id))
            return web.json_response({"error": verdict.error, "node_errors": {}}, status=400)
        verdict = check(body["prompt"], self._folders)
        if verdict.error is not None:
            refusal = {"error": verdict.error, "node_errors": verdict.node_errors}
            return web.json_response(refusal, status=400)
        extra = {**body.get("extra_data", {}), "create_time": int(time.time() * 1000)}
        if "client_id" in body:
            extra["client_id"] = body["client_id"]
        number = body.get("number", -self._number if body.get("front") else self._number)
        self._number += 1
        self._engine.put([number, prompt_id, body["prompt"], extra, verdict.outputs])
        answer = {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        return web.json_response(answer)

    async def _remaining(self, request: web.Request) -> web.Response:
        return web.json_response(self._engine.remaining())

    async def _get_queue(self, request: web.Request) -> web.Response:
        running, pending = self._engine.queue()
        return web.json_response({"queue_running": running, "queue_pending": pending})

    async def _post_queue(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self._engine.clear()
        for prompt_id in body.get("delete", []):
            self._engine.delete(prompt_id)
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json() if request.body_exists else {}
        self._engine.interrupt(body.get("prompt_id"))
        return web.Response()

    async def _history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        found = self._engine.history.get(prompt_id)
        return web.json_response({} if found is None else {prompt_id: found})

    async def _whole_history(self, request: web.Request) -> web.Response:
        most = int(request.query.get("max_items", len(self._engine.history)))
        return web.json_response(dict(list(self._engine.history.items())[-most:] if most else []))

    async def _post_history(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self._engine.history.clear()
        for prompt_id in body.get("delete", []):
            self._engine.history.pop(prompt_id, None)
        return web.Response()

    async def _free(self, request: web.Request) -> web.Response:
        if (await request.json()).get("free_memory"):
            self._engine.cache.clear()
        return web.Response()

    async def _job(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        running, pending = self._engine.queue()
        for status, items in (("in_progress", running), ("pending", pending)):
            for item in items:
                if item[1] == prompt_id:
                    return web.json_response({"id": prompt_id, "status": status, "priority": item[0]})
        entry = self._engine.history.get(prompt_id)
        if entry is None:
            return web.json_response({"error": "Job not found"}, status=404)
        return web.json_response(_job_told(prompt_id, entry))

    async def _cancel_job(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        cancelled = self._engine.delete(prompt_id) or self._engine.interrupt(prompt_id)
        return web.json_response({"cancelled": cancelled})

    # Files

    async def _view(self, request: web.Request) -> web.StreamResponse:
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

    async def _upload(self, request: web.Request) -> web.Response:
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

    # About the server

    async def _object_info(self, request: web.Request) -> web.Response:
        name = request.match_info["class_type"]
        return web.json_response({name: NODES[name].info(self._folders)} if name in NODES else {})

    async def _all_object_info(self, request: web.Request) -> web.Response:
        return web.json_response({name: node.info(self._folders) for name, node in NODES.items()})

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response(self._folders.models(request.match_info["kind"]))

    async def _page(self, request: web.Request) -> web.Response:
        """The web pages are served from the root: other methods on unknown paths get 405."""
        return web.Response(status=404)

    async def _system_stats(self, request: web.Request) -> web.Response:
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

    async def _features(self, request: web.Request) -> web.Response:
        return web.json_response(FEATURES)

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self._controls.refuse_sockets:
            return web.Response(status=502)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        assert request.transport is not None
        connection = Connection(socket, request.transport)
        self._sockets.add(client_id, connection)
        self._sockets.send(("status", {"status": self._engine.remaining(), "sid": client_id}), client_id)
        try:
            async for message in socket:
                said: dict[str, Any] = message.json() if message.type == WSMsgType.TEXT else {}
                if said.get("type") == "feature_flags" and client_id not in self._sockets.features:
                    self._sockets.features[client_id] = said["data"]
                    if not self._settings.older:
                        self._sockets.send(("feature_flags", FEATURES), client_id)
        finally:
            self._sockets.remove(client_id, connection)
        return socket

    # For tests

    async def _fake_state(self, request: web.Request) -> web.Response:
        controls = self._controls
        features = list(self._sockets.features.values())
        return web.json_response({"held": to_builtins(controls.held), "features": features})

    async def _fake_requests(self, request: web.Request) -> web.Response:
        path, method = request.query["path"], request.query["method"]
        found = [
            each
            for each in self._controls.asked
            if each.path.removeprefix("/api").startswith(path) and method in {"", each.method}
        ]
        return web.json_response(to_builtins(found))

    async def _fake(self, request: web.Request) -> web.Response:
        body = await request.json()
        controls = self._controls
        match request.match_info["action"]:
            case "hold":
                controls.hold(body["class_type"])
            case "release":
                controls.release(body["class_type"])
            case "fail":
                controls.fail(convert(body, NodeFailure))
            case "fault":
                controls.faults.append(convert(body, HttpFault))
            case "sockets":
                controls.refuse_sockets = body["refuse"]
                if body["drop"]:
                    self._sockets.drop()
            case _:
                return web.Response(status=404)
        return web.json_response({})


def _broken(request: web.Request, fault: HttpFault) -> web.Response:
    if fault.status == 0 and request.transport is not None:
        request.transport.abort()
    return web.Response(status=fault.status or 500, text="<html>Bad gateway</html>")


def _is_canonical(prompt_id: object) -> bool:
    try:
        return str(uuid.UUID(str(prompt_id))) == prompt_id
    except ValueError:
        return False


def _job_told(prompt_id: str, entry: dict[str, Any]) -> dict[str, Any]:
    number, _, prompt, extra, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    ends = [data["timestamp"] for _, data in entry["status"]["messages"]]
    status = "completed" if entry["status"]["completed"] else "failed"
    told: dict[str, Any] = {
        "id": prompt_id,
        "status": "cancelled" if "execution_interrupted" in messages else status,
        "priority": number,
        "create_time": extra["create_time"],
        "execution_start_time": ends[0],
        "execution_end_time": ends[-1],
        "outputs_count": len(entry["outputs"]),
        "preview_output": _preview(entry["outputs"]),
        "outputs": entry["outputs"],
        "execution_status": entry["status"],
        "workflow": {"prompt": prompt, "extra_data": extra},
    }
    if "execution_error" in messages:
        told["execution_error"] = messages["execution_error"]
    return told


def _preview(outputs: dict[str, Any]) -> dict[str, Any] | None:
    """A file if there is one, else a text."""
    for node_id, ui in outputs.items():
        for media in ("images", "video", "audio", "gifs"):
            if media in ui:
                return {**ui[media][0], "nodeId": node_id, "mediaType": media}
    for node_id, ui in outputs.items():
        if "text" in ui:
            return {"content": ui["text"][0], "nodeId": node_id, "mediaType": "text"}
    return None


async def _asked(request: web.Request) -> Asked:
    body: Any = None
    if request.content_type == "application/json":
        try:
            body = await request.json()
        except ValueError:
            body = await request.text()
    elif request.content_type.startswith("multipart/"):
        form = await request.post()
        body = {
            name: value.filename if isinstance(value, FileField) else str(value)
            for name, value in form.items()
        }
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Asked(request.method, request.path, dict(request.query), headers, body)
