"""What the config says about styles, and about who fetches, reaches the service."""

import asyncio
from importlib.metadata import version
from pathlib import Path

import pytest

from framegate.cli.app_context import create_context, open_services
from framegate.cli.config_file import load_settings
from framegate.core.errors import ConfigError, InvalidMedia
from framegate.core.ports import UrlSource
from framegate.core.submission import Client

PRODUCT = f"Framegate/{version('framegate-media')}"


async def test_an_operators_own_style(tmp_path: Path) -> None:
    values = {"server.data_dir": str(tmp_path / "data"), "styles.anime": "in ink"}
    context = create_context(load_settings(environ={}, overrides=values))
    async with open_services(context) as services:
        assert services.core.jobs.styles["anime"].prompt == "in ink"


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"styles.noir": "in the rain"}, r"^styles\.noir: unknown style 'noir'; available: festive"),
        (
            {"aliases.quick.model": "preview", "aliases.quick.defaults.style": "noir"},
            r"^aliases\.quick\.defaults\.style: unknown style 'noir'; available",
        ),
    ],
)
def test_a_style_that_there_is_not(values: dict[str, str], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        create_context(load_settings(environ={}, overrides=values))


async def agent_of(tmp_path: Path, **server_and_fetch: str) -> str:
    """Return the User-Agent with which a link is fetched."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    settings = {name.replace("__", "."): value for name, value in server_and_fetch.items()}
    values = {"server.data_dir": str(tmp_path / "data"), "fetch.allow": ["127.0.0.1"], **settings}
    context = create_context(load_settings(environ={}, overrides=values))
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, open_services(context) as services:
        link = UrlSource(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.mp4")
        with pytest.raises(InvalidMedia, match="404"):
            await services.core.characters.create(link, start=0, end=1, client=Client())
    [head] = heads
    [agent] = [line for line in head.decode().split("\r\n") if line.lower().startswith("user-agent:")]
    return agent.partition(": ")[2]


async def test_fetches_say_who_they_are_of(tmp_path: Path) -> None:
    assert await agent_of(tmp_path) == PRODUCT
    for public in ("https://video.example.com", "http://10.0.0.1:8000/base/"):
        assert await agent_of(tmp_path, server__public_url=public) == f"{PRODUCT} (+{public})"
    assert await agent_of(tmp_path, fetch__user_agent="Acme/1 (x)", server__public_url=public) == "Acme/1 (x)"


@pytest.mark.parametrize(
    ("public", "shown"),
    [
        ("https://vidéo.example", " (+https://xn--vido-dpa.example/)"),
        ("https://video.example.com/ü", " (+https://video.example.com/%C3%BC)"),
        ("https://user:secret@video.example.com", ""),
        ("https://video.example.com\r\nX-Injected: 1", ""),
        ("video", ""),
    ],
)
async def test_a_public_url_puts_nothing_else_into_a_header(tmp_path: Path, public: str, shown: str) -> None:
    assert await agent_of(tmp_path, server__public_url=public) == PRODUCT + shown


@pytest.mark.parametrize("agent", ["a\r\nX: 1", "a\n", "\tb", " a", "a ", "ü", "a" * 201, "a\x7f"])
def test_an_agent_that_is_no_header(agent: str) -> None:
    with pytest.raises(ConfigError, match=r"fetch\.user_agent"):
        load_settings(environ={}, overrides={"fetch.user_agent": agent})
