"""One ComfyUI server, over HTTP."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from msgspec import Struct

from framegate.plugins.comfyui.config import ServerConfig
from framegate.plugins.comfyui.json_access import items, table
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema, read_schema

DOWNLOAD_TRIES = 4
_CHUNK = 1 << 18


class ServerDown(Exception):
    """It can't be reached, or what stands before it says that it can't be."""


class AccessRefused(Exception):
    """It, or what stands before it, wants another token."""


class UnexpectedAnswer(Exception):
    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body


class Load(Struct, frozen=True):
    """The ids of the prompts that a server runs and of those that wait there."""

    running: frozenset[str]
    pending: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.running) + len(self.pending)


class StoredFile(Struct, frozen=True):
    """A file on the server, as its history names it."""

    filename: str
    subfolder: str
    type: str
    format: str = ""


class ComfyClient:
    """Every method raises `ServerDown`, `AccessRefused` or `UnexpectedAnswer`."""

    def __init__(self, session: aiohttp.ClientSession, server: ServerConfig) -> None:
        self.server = server
        self._session = session
        self._base = server.url.rstrip("/")
        self._headers = server.secret_headers()
        self._query = server.secret_query()

    async def stats(self) -> Any:
        return await self._json("GET", "/system_stats")

    async def load(self) -> Load:
        body = await self._json("GET", "/queue")
        running, pending = (_prompt_ids(table(body).get(name)) for name in ("queue_running", "queue_pending"))
        return Load(frozenset(running), pending)

    async def schema(self, class_type: str) -> dict[str, NodeSchema]:
        """What it says of a class of nodes; empty if it does not have it."""
        return read_schema(await self._json("GET", f"/object_info/{quote(class_type, safe='')}"))

    async def submit(
        self,
        prompt: Mapping[str, Any],
        *,
        client_id: str,
        prompt_id: str,
        preview_method: str | None = None,
    ) -> Any:
        """``preview_method``: as of ComfyUI's flag, instead of what it was started with."""
        body: dict[str, Any] = {"prompt": prompt, "client_id": client_id, "prompt_id": prompt_id}
        if preview_method is not None:
            body["extra_data"] = {"preview_method": preview_method}
        return await self._json("POST", "/prompt", json=body)

    async def history(self, prompt_id: str) -> Mapping[str, Any] | None:
        """How the prompt ended; None while it has not, or if the server does not know it."""
        body = await self._json("GET", f"/history/{quote(prompt_id, safe='')}")
        return table(table(body).get(prompt_id)) or None

    async def forget(self, prompt_id: str) -> None:
        """Take the prompt out of the history: it holds the texts of the request."""
        await self._json("POST", "/history", json={"delete": [prompt_id]})

    async def withdraw(self, prompt_id: str) -> None:
        """Take the prompt out of the queue, or interrupt it if it runs; leave all others alone."""
        await self._json("POST", "/queue", json={"delete": [prompt_id]})
        if prompt_id not in (await self.load()).running:
            return
        try:
            await self._json("POST", f"/api/jobs/{quote(prompt_id, safe='')}/cancel")
        except UnexpectedAnswer:  # older servers don't have it, and interrupt what runs
            if prompt_id in (await self.load()).running:
                await self._json("POST", "/interrupt", json={"prompt_id": prompt_id})

    async def upload(self, path: Path, name: str, subfolder: str) -> str:
        """The value by which a loader finds the file. The same content under the same name is kept once."""
        with path.open("rb") as file:
            form = aiohttp.FormData()
            form.add_field("image", file, filename=name, content_type="application/octet-stream")
            form.add_field("type", "input")
            form.add_field("subfolder", subfolder)
            body = await self._json("POST", "/upload/image", data=form, seconds=None)
        stored, folder = table(body).get("name"), table(body).get("subfolder")
        if not stored:
            raise UnexpectedAnswer(200, body)
        return f"{folder}/{stored}" if folder else str(stored)

    async def download(self, file: StoredFile, target: Path) -> None:
        """Stream a result into ``target``, going on where a broken transfer ended."""
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type, **self._query}
        for attempt in range(1, DOWNLOAD_TRIES + 1):
            have = await asyncio.to_thread(_size_of, target)
            headers = {**self._headers, **({"Range": f"bytes={have}-"} if have else {})}
            try:
                async with self._session.get(
                    f"{self._base}/view",
                    params=query,
                    headers=headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_read=60),
                ) as response:
                    _check(response.status, "")
                    with target.open("ab" if response.status == 206 else "wb") as out:
                        async for chunk in response.content.iter_chunked(_CHUNK):
                            out.write(chunk)
                return
            except (aiohttp.ClientError, TimeoutError) as error:  # an OSError is our own disk's
                if attempt == DOWNLOAD_TRIES:
                    raise ServerDown(type(error).__name__) from error
                await asyncio.sleep(0.5 * attempt)

    @asynccontextmanager
    async def events(
        self, client_id: str, features: Mapping[str, Any]
    ) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
        """``features``: what the client knows how to read beyond the usual."""
        try:
            socket = await self._session.ws_connect(
                f"{self._base}/ws",
                params={"clientId": client_id, **self._query},
                headers=self._headers,
                heartbeat=30,
                max_msg_size=64 * 2**20,
            )
            await socket.send_json({"type": "feature_flags", "data": features})
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServerDown(type(error).__name__) from error
        async with socket:
            yield socket

    async def _json(self, method: str, path: str, *, seconds: float | None = 30, **body: Any) -> Any:
        try:
            async with self._session.request(
                method,
                self._base + path,
                params=self._query,
                headers=self._headers,
                allow_redirects=False,  # a token is for this address alone
                timeout=aiohttp.ClientTimeout(total=seconds),
                **body,
            ) as response:
                text = await response.text()
                answer = _decoded(text) if "json" in response.content_type else text
                _check(response.status, answer)
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServerDown(type(error).__name__) from error


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UnexpectedAnswer(200, text) from error


def _check(status: int, body: Any) -> None:
    if status in (401, 403, 407) or 300 <= status < 400:  # a redirect leads to somebody's login page
        raise AccessRefused(f"status {status}")
    if status in (502, 503, 504):
        raise ServerDown(f"status {status}")
    if status >= 400:
        raise UnexpectedAnswer(status, body)


def _prompt_ids(queue: Any) -> tuple[str, ...]:
    """Of ``[[number, id, …], …]``, in the order of their numbers."""
    listed = [items(item) for item in items(queue)]
    return tuple(str(item[1]) for item in sorted(listed, key=lambda item: item[0]) if len(item) > 1)
