"""The HTTP interface; every route exists a second time under ``/api``."""

import asyncio
import hmac
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.web_request import FileField
from msgspec import convert, to_builtins

from tests.support.comfyui.fake_comfyui.controls import Controls, HttpFault, NodeFailure, ReceivedRequest
from tests.support.comfyui.fake_comfyui.file_routes import FileRoutes
from tests.support.comfyui.fake_comfyui.folders import Folders
from tests.support.comfyui.fake_comfyui.info_routes import InfoRoutes
from tests.support.comfyui.fake_comfyui.job_description import describe_job
from tests.support.comfyui.fake_comfyui.prompt_queue import PromptQueue
from tests.support.comfyui.fake_comfyui.settings import FEATURES, MAX_UPLOAD, Settings
from tests.support.comfyui.fake_comfyui.sockets import Connection, Sockets
from tests.support.comfyui.fake_comfyui.validation import check, reject

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folders = Folders(settings.base)
        self._files = FileRoutes(self._folders)
        self._info = InfoRoutes(settings, self._folders)
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
            ("GET", "/view", self._files.view),
            ("POST", "/upload/image", self._files.upload),
            ("GET", "/object_info", self._info.all_object_info),
            ("GET", "/object_info/{class_type}", self._info.object_info),
            ("GET", "/models/{kind}", self._info.models),
            ("GET", "/system_stats", self._info.system_stats),
            ("GET", "/features", self._info.features),
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
        app.router.add_get("/{path:.*}", self._info.page)
        app.cleanup_ctx.append(self._running)
        return app

    async def _running(self, app: web.Application) -> AsyncIterator[None]:
        self._sockets = Sockets()
        self._queue = PromptQueue(
            self._folders,
            self._sockets,
            self._controls,
            preview_method=self._settings.preview_method or "none",
            older=self._settings.older,
        )
        self._queue.start()
        delivery = asyncio.create_task(self._sockets.deliver())
        yield
        delivery.cancel()
        await self._sockets.close()

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/fake/"):
            return await handler(request)
        self._controls.requests.append(await _record(request))
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
        response = await handler(request)
        return response if fault is None else _broken(request, fault)

    # Prompts

    async def _post_prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "prompt" not in body:
            result = reject("no_prompt", "No prompt provided", "No prompt provided")
            return web.json_response({"error": result.error, "node_errors": {}}, status=400)
        prompt_id = body.get("prompt_id", str(uuid.uuid4()))
        if not _is_canonical(prompt_id):
            result = reject("invalid_prompt_id", "prompt_id must be a canonical UUID", str(prompt_id))
            return web.json_response({"error": result.error, "node_errors": {}}, status=400)
        result = check(body["prompt"], self._folders)
        if result.error is not None:
            refusal = {"error": result.error, "node_errors": result.node_errors}
            return web.json_response(refusal, status=400)
        extra = {**body.get("extra_data", {}), "create_time": int(time.time() * 1000)}
        if "client_id" in body:
            extra["client_id"] = body["client_id"]
        number = body.get("number", -self._number if body.get("front") else self._number)
        self._number += 1
        self._queue.put([number, prompt_id, body["prompt"], extra, result.outputs])
        response = {"prompt_id": prompt_id, "number": number, "node_errors": result.node_errors}
        return web.json_response(response)

    async def _remaining(self, request: web.Request) -> web.Response:
        return web.json_response(self._queue.remaining())

    async def _get_queue(self, request: web.Request) -> web.Response:
        running, pending = self._queue.queue()
        return web.json_response({"queue_running": running, "queue_pending": pending})

    async def _post_queue(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self._queue.clear()
        for prompt_id in body.get("delete", []):
            self._queue.delete(prompt_id)
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json() if request.body_exists else {}
        self._queue.interrupt(body.get("prompt_id"))
        return web.Response()

    async def _history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        found = self._queue.history.get(prompt_id)
        return web.json_response({} if found is None else {prompt_id: found})

    async def _whole_history(self, request: web.Request) -> web.Response:
        most = int(request.query.get("max_items", len(self._queue.history)))
        return web.json_response(dict(list(self._queue.history.items())[-most:] if most else []))

    async def _post_history(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body.get("clear"):
            self._queue.history.clear()
        for prompt_id in body.get("delete", []):
            self._queue.history.pop(prompt_id, None)
        return web.Response()

    async def _free(self, request: web.Request) -> web.Response:
        if (await request.json()).get("free_memory"):
            self._queue.cache.clear()
        return web.Response()

    async def _job(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        running, pending = self._queue.queue()
        for status, items in (("in_progress", running), ("pending", pending)):
            for item in items:
                if item[1] == prompt_id:
                    return web.json_response({"id": prompt_id, "status": status, "priority": item[0]})
        entry = self._queue.history.get(prompt_id)
        if entry is None:
            return web.json_response({"error": "Job not found"}, status=404)
        return web.json_response(describe_job(prompt_id, entry))

    async def _cancel_job(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        cancelled = self._queue.delete(prompt_id) or self._queue.interrupt(prompt_id)
        return web.json_response({"cancelled": cancelled})

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self._controls.refuse_sockets:
            return web.Response(status=502)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client_id = request.query.get("clientId") or uuid.uuid4().hex
        assert request.transport is not None
        connection = Connection(socket, request.transport)
        self._sockets.add(client_id, connection)
        self._sockets.send(("status", {"status": self._queue.remaining(), "sid": client_id}), client_id)
        try:
            async for message in socket:
                event: dict[str, Any] = message.json() if message.type == WSMsgType.TEXT else {}
                if event.get("type") == "feature_flags" and client_id not in self._sockets.features:
                    self._sockets.features[client_id] = event["data"]
                    if not self._settings.older:
                        self._sockets.send(("feature_flags", FEATURES), client_id)
        finally:
            self._sockets.remove(client_id, connection)
        return socket

    # What tests control

    async def _fake_state(self, request: web.Request) -> web.Response:
        controls = self._controls
        features = list(self._sockets.features.values())
        return web.json_response({"held": to_builtins(controls.held), "features": features})

    async def _fake_requests(self, request: web.Request) -> web.Response:
        path, method = request.query["path"], request.query["method"]
        found = [
            each
            for each in self._controls.requests
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


async def _record(request: web.Request) -> ReceivedRequest:
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
    return ReceivedRequest(request.method, request.path, dict(request.query), headers, body)
