"""The client against a server of its own."""

import errno
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from framegate.plugins.comfyui.config import ServerConfig
from framegate.plugins.comfyui.servers.client import ComfyClient, StoredFile
from tests.support.file_size import limit_file_size


async def test_a_full_disk_while_a_result_is_downloaded(tmp_path: Path) -> None:
    async def view(request: web.Request) -> web.Response:
        return web.Response(body=bytes(100_000))

    app = web.Application()
    app.router.add_get("/view", view)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        client = ComfyClient(session, ServerConfig(url=str(server.make_url("/"))))
        with limit_file_size(1000), pytest.raises(OSError, match="File too large") as caught:
            await client.download(StoredFile("a.png", "", "output"), tmp_path / "result-0.png")
    assert caught.value.errno == errno.EFBIG
