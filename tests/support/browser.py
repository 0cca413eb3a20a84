"""A headless Chromium, driven over its DevTools protocol."""

import asyncio
import json
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.running import eventually

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium comes from the system, not from pip")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Page:
    """One open page: ``requests`` are the URLs that it fetched, ``problems`` what its console says."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0
        self.requests: list[str] = []
        self.problems: list[str] = []

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol; return its result."""
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": params})
        while True:
            message = json.loads(await self._socket.receive_str(timeout=60))
            match message.get("method"):
                case "Network.requestWillBeSent":
                    self.requests.append(message["params"]["request"]["url"])
                case "Log.entryAdded":
                    self.problems.append(message["params"]["entry"]["text"])
                case "Runtime.exceptionThrown":
                    self.problems.append(str(message["params"]))
                case _ if message.get("id") == self._calls:
                    assert "error" not in message, message
                    return message["result"]
                case _:
                    pass

    async def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression; promises are waited for."""
        result = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, script: str, seconds: float = 120) -> Any:
        """Return the value of the expression once it is true."""
        async with asyncio.timeout(seconds):
            # The state is the browser's: there is no event of ours to wait for.
            while not (value := await self.evaluate(script)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return value


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


@asynccontextmanager
async def open_page(url: str, profile: Path) -> AsyncGenerator[Page]:
    """Open ``url`` in a Chromium of its own, whose profile is the empty folder ``profile``."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=DEVNULL)
    try:
        port_file = profile / "DevToolsActivePort"
        port = await asyncio.to_thread(
            eventually,
            lambda: "\n" in (text := _read(port_file)) and text.partition("\n")[0],
            what="Chromium's start",
        )
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as response:
                target = next(page for page in await response.json() if page["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                for domain in ("Page", "Network", "Log", "Runtime"):
                    await page.call(f"{domain}.enable")
                await page.call("Page.navigate", url=url)
                await page.until(
                    f"location.href.startsWith({json.dumps(url)}) && document.readyState == 'complete'"
                )
                yield page
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself
            process.terminate()
        await process.wait()
