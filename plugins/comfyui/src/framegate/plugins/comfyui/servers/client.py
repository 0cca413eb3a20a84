"""The client of one ComfyUI server."""

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
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema, parse_object_info

DOWNLOAD_TRIES = 4
ACCESS_DENIED = "ComfyUI denies access; check the server's token in the config."
_CHUNK_BYTES = 1 << 18
_TIMEOUT_SECONDS = 30.0


class ServerUnavailable(Exception):
    """The server, or a proxy's upstream, can't be reached."""


class AccessDenied(Exception):
    """The server, or a proxy in front of it, requires another token."""


class UnexpectedResponse(Exception):
    """The server responded with a status or a body that the request doesn't allow for."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.body = body


class QueueState(Struct, frozen=True):
    """The ids of the prompts that a server runs, and of those that wait there in order."""

    running: frozenset[str]
    pending: tuple[str, ...]

    @property
    def size(self) -> int:
        """The number of prompts that run or wait."""
        return len(self.running) + len(self.pending)


class StoredFile(Struct, frozen=True):
    """A file on the server, as its history names it."""

    filename: str
    subfolder: str
    type: str
    format: str = ""


class ComfyClient:
    """One ComfyUI server.

    Every method may raise `ServerUnavailable`, `AccessDenied` or `UnexpectedResponse`.
    """

    def __init__(self, session: aiohttp.ClientSession, server: ServerConfig) -> None:
        self.server = server
        self._session = session
        self._base = server.url.rstrip("/")
        self._headers = server.secret_headers()
        self._query = server.secret_query()

    async def system_stats(self) -> Any:
        """Return the server's version, arguments and devices."""
        return await self._request("GET", "/system_stats")

    async def queue(self) -> QueueState:
        """Return which prompts run and wait."""
        body = await self._request("GET", "/queue")
        running, pending = (_prompt_ids(table(body).get(name)) for name in ("queue_running", "queue_pending"))
        return QueueState(frozenset(running), pending)

    async def object_info(self, class_type: str) -> dict[str, NodeSchema]:
        """Return the schema of a node class by its name, or an empty mapping if the server lacks it."""
        return parse_object_info(await self._request("GET", f"/object_info/{quote(class_type, safe='')}"))

    async def submit(
        self,
        prompt: Mapping[str, Any],
        *,
        client_id: str,
        prompt_id: str,
        preview_method: str | None = None,
    ) -> Any:
        """Queue a prompt and return the server's response.

        ``preview_method`` overrides the server's flag ``--preview-method`` for this prompt.
        """
        body: dict[str, Any] = {"prompt": prompt, "client_id": client_id, "prompt_id": prompt_id}
        if preview_method is not None:
            body["extra_data"] = {"preview_method": preview_method}
        return await self._request("POST", "/prompt", json=body)

    async def history(self, prompt_id: str) -> Mapping[str, Any] | None:
        """Return how the prompt ended, or None while it has not ended or if the server doesn't know it."""
        body = await self._request("GET", f"/history/{quote(prompt_id, safe='')}")
        return table(table(body).get(prompt_id)) or None

    async def delete_history(self, prompt_id: str) -> None:
        """Remove the prompt from the history, which holds the texts of the request."""
        await self._request("POST", "/history", json={"delete": [prompt_id]})

    async def cancel(self, prompt_id: str) -> None:
        """Remove the prompt from the queue, or interrupt it if it runs; leave all others alone."""
        await self._request("POST", "/queue", json={"delete": [prompt_id]})
        if prompt_id not in (await self.queue()).running:
            return
        try:
            await self._request("POST", f"/api/jobs/{quote(prompt_id, safe='')}/cancel")
        except UnexpectedResponse:  # older servers lack it, and interrupt whatever runs
            if prompt_id in (await self.queue()).running:
                await self._request("POST", "/interrupt", json={"prompt_id": prompt_id})

    async def upload(self, path: Path, name: str, subfolder: str) -> str:
        """Upload an input file and return the value by which a loader node finds it.

        The server keeps the same content under the same name only once.
        """
        with path.open("rb") as file:
            form = aiohttp.FormData()
            form.add_field("image", file, filename=name, content_type="application/octet-stream")
            form.add_field("type", "input")
            form.add_field("subfolder", subfolder)
            body = await self._request("POST", "/upload/image", data=form, seconds=None)
        stored, folder = table(body).get("name"), table(body).get("subfolder")
        if not stored:
            raise UnexpectedResponse(200, body)
        return f"{folder}/{stored}" if folder else str(stored)

    async def download(self, file: StoredFile, target: Path) -> None:
        """Stream a file into ``target``, resuming a transfer that broke off.

        Raises:
            OSError: The file can't be written.
        """
        for attempt in range(1, DOWNLOAD_TRIES + 1):
            try:
                await self._download_rest(file, target)
                return
            except (aiohttp.ClientError, TimeoutError) as error:
                if attempt == DOWNLOAD_TRIES:
                    raise ServerUnavailable(type(error).__name__) from error
                await asyncio.sleep(0.5 * attempt)

    async def _download_rest(self, file: StoredFile, target: Path) -> None:
        received = await asyncio.to_thread(_size_of, target)
        async with self._session.get(
            f"{self._base}/view",
            params={
                "filename": file.filename,
                "subfolder": file.subfolder,
                "type": file.type,
                **self._query,
            },
            headers={**self._headers, **({"Range": f"bytes={received}-"} if received else {})},
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_read=60),
        ) as response:
            _raise_for_status(response.status, "")
            with target.open("ab" if response.status == 206 else "wb") as out:
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    out.write(chunk)

    @asynccontextmanager
    async def websocket(
        self, client_id: str, features: Mapping[str, Any]
    ) -> AsyncGenerator[aiohttp.ClientWebSocketResponse]:
        """Connect to the websocket as ``client_id``, announcing ``features`` that this client supports."""
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
            raise ServerUnavailable(type(error).__name__) from error
        async with socket:
            yield socket

    async def _request(
        self, method: str, path: str, *, seconds: float | None = _TIMEOUT_SECONDS, **body: Any
    ) -> Any:
        try:
            async with self._session.request(
                method,
                self._base + path,
                params=self._query,
                headers=self._headers,
                allow_redirects=False,  # the token is for this address alone
                timeout=aiohttp.ClientTimeout(total=seconds),
                **body,
            ) as response:
                text = await response.text()
                content = _parse_json(text) if "json" in response.content_type else text
                _raise_for_status(response.status, content)
                return content
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServerUnavailable(type(error).__name__) from error


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UnexpectedResponse(200, text) from error


def _raise_for_status(status: int, body: Any) -> None:
    if status in (401, 403, 407) or 300 <= status < 400:  # a redirect leads to a login page
        raise AccessDenied(f"status {status}")
    if status in (502, 503, 504):
        raise ServerUnavailable(f"status {status}")
    if status >= 400:
        raise UnexpectedResponse(status, body)


def _prompt_ids(queue: Any) -> tuple[str, ...]:
    """Return the ids in ``[[number, id, …], …]``, ordered by number."""
    entries = [items(entry) for entry in items(queue)]
    return tuple(str(entry[1]) for entry in sorted(entries, key=lambda entry: entry[0]) if len(entry) > 1)
