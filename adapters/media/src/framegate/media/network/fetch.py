"""Fetch the images and videos that requests name by URL. Everything about such a URL is hostile."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from yarl import URL

from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import Busy, InvalidMedia
from framegate.media.network.addresses import DialPolicy
from framegate.media.network.client import default_user_agent, load_client
from framegate.media.network.lookups import HostLookups
from framegate.media.network.urls import InvalidUrl, UrlHasCredentials, join_url, parse_url, shown_url
from framegate.media.slots import FairSlots

if TYPE_CHECKING:
    import aiohttp

    from framegate.media.network.metering import Meter

MAX_REDIRECTS = 3
CHUNK = 64 * 1024
MAX_FETCHES = 64
MAX_FETCHES_PER_OWNER = 16
MIN_RATE = 1024
"""Bytes a second that a body has to arrive with, on average over `RATE_SECONDS`."""
RATE_SECONDS = 10.0
REDIRECTS = frozenset({301, 302, 303, 307, 308})
HEADERS = {
    "Accept": "image/*, video/*;q=0.9, */*;q=0.1",
    "Accept-Encoding": "identity",
}


class UrlFetcher:
    """Fetch untrusted http(s) URLs, from public addresses and from what ``allow`` opens.

    ``allow`` holds networks and host names as in `DialPolicy`, ``max_bytes`` limits a file, and ``timeout``
    covers the whole fetch in seconds, redirects included. ``user_agent`` tells the hosts who fetches
    (by default, Framegate).
    """

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        max_bytes: int,
        timeout: float = 20.0,
        user_agent: str = "",
    ) -> None:
        self._policy = DialPolicy(allow)
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._headers = {**HEADERS, "User-Agent": user_agent or default_user_agent()}
        self._slots = FairSlots(MAX_FETCHES, per_owner=MAX_FETCHES_PER_OWNER)
        self._lookups = HostLookups()

    async def download(self, url: str, target: Path, *, owner: str = "") -> int:
        """Write the file at ``url`` to ``target``, as one of the fetches of ``owner``; return its size.

        Raises:
            InvalidMedia: It can't be fetched; the message tells the person who sent the URL why.
            Busy: Too many files are being fetched.
        """
        shown = repr(shown_url(url))
        parsed = _checked(url, shown)
        async with self._slot(owner):
            try:
                async with asyncio.timeout(self._timeout):
                    await load_client()
                    return await self._follow(parsed, target, shown, owner)
            except TimeoutError:
                raise InvalidMedia(f"Fetching {shown} timed out after {self._timeout:g} s.") from None

    @asynccontextmanager
    async def _slot(self, owner: str) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                await self._slots.acquire(owner)
        except TimeoutError:
            raise Busy("Too many files are being fetched; try again shortly.", retry_after=10) from None
        try:
            yield
        finally:
            self._slots.release(owner)

    async def _follow(self, url: URL, target: Path, shown: str, owner: str) -> int:
        for _ in range(MAX_REDIRECTS + 1):
            found = await self._get(url, target, shown, owner)
            if isinstance(found, int):
                return found
            url = found
        raise InvalidMedia(f"{shown} has too many redirects; at most {MAX_REDIRECTS} are followed.")

    async def _get(self, url: URL, target: Path, shown: str, owner: str) -> int | URL:
        """Return the size of the body, or the URL to which the response redirects."""
        from framegate.media.network.failures import fetch_failure
        from framegate.media.network.metering import Meter
        from framegate.media.network.sessions import FAILURES, OwnerResolver, guarded_session

        guard, meter = self._policy.guard(url.raw_host or ""), Meter()
        resolver = OwnerResolver(self._lookups, owner)
        try:
            async with (
                guarded_session(guard, self._headers, resolver=resolver, meter=meter) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                if response.status in REDIRECTS:
                    return _redirected(url, response.headers.get("Location", ""), shown)
                return await self._save(response, target, shown, meter)
        except FAILURES as error:
            if meter.exceeded:
                raise InvalidMedia(
                    f"{shown} could not be fetched: its server sent far more around the file than the file."
                ) from None
            raise InvalidMedia(fetch_failure(error, guard, shown)) from None

    async def _save(
        self, response: "aiohttp.ClientResponse", target: Path, shown: str, meter: "Meter"
    ) -> int:
        if response.status != 200:
            raise InvalidMedia(f"{shown} could not be fetched: its server answered HTTP {response.status}.")
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding != "identity":
            raise InvalidMedia(
                f"{shown} was sent with Content-Encoding {encoding[:50]!r}; it must be sent uncompressed."
            )
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large(shown)
        meter.begin_content()
        with translate_disk_full(), target.open("wb") as file:
            await self._receive(response.content, file, shown, meter)
            size = file.tell()
        if not size:
            raise InvalidMedia(f"{shown} is an empty file.")
        return size

    async def _receive(
        self, content: "aiohttp.StreamReader", file: IO[bytes], shown: str, meter: "Meter"
    ) -> None:
        """Write what arrives to ``file``, as long as it arrives at `MIN_RATE`."""
        loop = asyncio.get_running_loop()
        lately = 0
        try:
            async with asyncio.timeout(RATE_SECONDS) as deadline:
                async for chunk in content.iter_chunked(CHUNK):
                    meter.count_content(len(chunk))
                    file.write(chunk)
                    if file.tell() > self._max_bytes:
                        raise self._too_large(shown)
                    lately += len(chunk)
                    if lately >= MIN_RATE * RATE_SECONDS:
                        lately = 0
                        deadline.reschedule(loop.time() + RATE_SECONDS)
        except TimeoutError:
            raise InvalidMedia(
                f"{shown} could not be fetched: its server sends less than {MIN_RATE} bytes a second."
            ) from None

    def _too_large(self, shown: str) -> InvalidMedia:
        limit = self._max_bytes
        size = f"{limit / 2**20:.4g} MiB" if limit >= 2**20 else f"{limit} bytes"
        return InvalidMedia(f"{shown} is too large; at most {size} are accepted.")


def _checked(text: str, shown: str) -> URL:
    try:
        return parse_url(text)
    except UrlHasCredentials as error:
        raise InvalidMedia(f"{shown} {error}; such URLs are not fetched.") from None
    except InvalidUrl as error:
        raise InvalidMedia(f"{shown} {error}.") from None


def _redirected(url: URL, location: str, shown: str) -> URL:
    try:
        return join_url(url, location)
    except InvalidUrl:
        raise InvalidMedia(f"{shown} redirects to something that is not a plain http(s) URL.") from None
