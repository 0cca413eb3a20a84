"""Upload results to the URLs that requests name. Everything about such a URL is hostile."""

import asyncio

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential
from yarl import URL

from framegate.media.network.addresses import REFUSALS, REMEDY, DialPolicy
from framegate.media.network.client import default_user_agent, load_client
from framegate.media.network.lookups import HostLookups
from framegate.media.network.urls import InvalidUrl, parse_url
from framegate.media.slots import FairSlots

RESOLVING_SECONDS = 5.0
MAX_UPLOADS = 32
MAX_UPLOADS_PER_OWNER = 8


class UploadError(Exception):
    """A file could not be uploaded; the message says why, without the URL, which may hold a signature."""


class _TemporaryError(UploadError):
    """The next attempt may succeed."""


class UrlUploader:
    """Upload files by PUT to http(s) URLs that ``policy`` allows. Redirects are not followed.

    An attempt may take ``timeout`` seconds. What may be temporary is tried again, ``attempts`` times in all,
    after ``delay`` seconds and then twice as long each time. ``user_agent`` tells the hosts who uploads (by
    default, Framegate).
    """

    def __init__(
        self,
        policy: DialPolicy,
        *,
        timeout: float = 30.0,
        attempts: int = 3,
        delay: float = 1.0,
        user_agent: str = "",
    ) -> None:
        self._policy = policy
        self._timeout = timeout
        self._attempts = attempts
        self._delay = delay
        self._user_agent = user_agent or default_user_agent()
        self._slots = FairSlots(MAX_UPLOADS, per_owner=MAX_UPLOADS_PER_OWNER)
        self._lookups = HostLookups()

    async def check(self, url: str, *, owner: str = "") -> None:
        """Check, before there is a file, that `put` would dial the URL as its host resolves now.

        Raises:
            UploadError: It would not.
        """
        target = _parsed(url)
        host, port = target.raw_host or "", target.port or 0
        try:
            async with asyncio.timeout(RESOLVING_SECONDS):
                found = await self._lookups.find(host, port, owner=owner)
        except (OSError, UnicodeError, TimeoutError):
            raise UploadError("its host could not be resolved") from None
        refusals = [self._policy.refusal(host, str(address), port) for *_, (address, *_) in found]
        if refusals and all(refusals):
            raise UploadError(f"it leads to {REFUSALS[next(filter(None, refusals))]}. {REMEDY}")

    async def put(self, url: str, data: bytes, content_type: str, *, owner: str = "") -> None:
        """Upload a file as one of the uploads of ``owner``, only so many of which are made at once.

        The URL is sent byte for byte as given, because its signature covers it.

        Raises:
            UploadError: It was refused, or all attempts failed.
        """
        target = _parsed(url)
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential(multiplier=self._delay, max=10.0),
            retry=retry_if_exception_type(_TemporaryError),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                async with self._slots.hold(owner):
                    await self._put_once(target, data, content_type, owner)

    async def _put_once(self, url: URL, data: bytes, content_type: str, owner: str) -> None:
        await load_client()
        from framegate.media.network.failures import failure_reason
        from framegate.media.network.metering import Meter
        from framegate.media.network.sessions import FAILURES, OwnerResolver, guarded_session

        guard, resolver = self._policy.guard(url.raw_host or ""), OwnerResolver(self._lookups, owner)
        headers = {"User-Agent": self._user_agent, "Content-Type": content_type}
        try:
            async with (
                asyncio.timeout(self._timeout),
                guarded_session(guard, headers, resolver=resolver, meter=Meter()) as session,
                session.put(url, data=data, allow_redirects=False) as response,
            ):
                status = response.status
                response.close()
        except TimeoutError:
            raise _TemporaryError(f"no response within {self._timeout:g} s") from None
        except FAILURES as error:
            kind = UploadError if guard.refusal is not None else _TemporaryError
            raise kind(failure_reason(error, guard)) from None
        if not 200 <= status < 300:
            raise (_TemporaryError if status >= 500 else UploadError)(f"its server answered HTTP {status}")


def _parsed(text: str) -> URL:
    """Return the URL, exactly as given.

    Raises:
        UploadError: It is not a plain http(s) URL.
    """
    try:
        return parse_url(text)
    except InvalidUrl as error:
        raise UploadError(f"it {error}") from None
