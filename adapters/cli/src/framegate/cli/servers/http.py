"""HTTP to a remote server: a sentence for all that can go wrong, and a second try where it may help."""

import ssl
from asyncio import sleep
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, TypeVar

import httpx
import msgspec
from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from framegate.cli.output import print_line
from framegate.core.errors import ConfigError, FramegateError

API = "/api/v1"
"""Where the server's own API is mounted, below the URL that the user gives."""
_TIMEOUT = httpx.Timeout(30.0, connect=10.0, read=300.0)
"""Seconds; the server may decode what was sent before it answers."""
_MAX_ANSWER = 32 * 2**20
_LONGEST_PAUSE = 60.0
_ATTEMPTS = 5
_CERTIFICATE_HINT = "If your own authority has signed it, name that one's file in the variable SSL_CERT_FILE."

Answer = TypeVar("Answer")


class ServerError(FramegateError):
    """A remote server refused a request, or can't be reached; ``status`` is 0 without an answer."""

    code = "server_error"

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ConnectionFailed(ServerError):
    """There was no answer, or only a part of it."""


class Unreachable(ServerError):
    """No connection could be made, and none ever was: URL or network are wrong."""


class TryAgain(ServerError):
    """The server can't do it now; ``seconds`` is when it wants to be asked again."""

    def __init__(self, message: str, *, status: int, seconds: float) -> None:
        super().__init__(message, status=status)
        self.seconds = seconds


class _FieldError(Struct):
    field: str = ""
    message: str = ""


class _Problem(Struct):
    """RFC 9457, as far as people need it."""

    detail: str = ""
    title: str = ""
    errors: list[_FieldError] = []


class HttpClient:
    """Requests to the API below ``url``, with a ``key`` that no other host ever gets.

    Raises:
        ConfigError: URL or key can't be right.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = _api_url(url)
        self._has_key = bool(key)
        self._answered = False
        headers = {"User-Agent": f"framegate-cli/{version('framegate-cli')}", "Accept": "application/json"}
        if key:
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise ConfigError("--key: the key has a character that no key has, such as a space.")
            headers["Authorization"] = f"Bearer {key}"
        try:
            self._client = httpx.AsyncClient(headers=headers, timeout=_TIMEOUT)
        except (ImportError, OSError, ValueError) as error:  # a file of certificates, or a proxy
            raise ConfigError(
                f"The environment variables of TLS or a proxy can't be used: {str(error).rstrip('.')}."
            ) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def call(self, answer: type[Answer], method: str, path: str, **options: Any) -> Answer:
        """Send a request and return its decoded answer.

        It is sent again if the server is busy, or the connection was lost: so it has to be one that changes
        nothing when it is repeated. ``options`` are those of `httpx.AsyncClient.build_request`.

        Raises:
            ServerError: There is no answer, or it isn't the one of a Framegate server.
        """
        return self.decode(answer, await self.fetch(method, path, **options))

    async def fetch(self, method: str, path: str, **options: Any) -> bytes:
        """Do as `call` does, and return the body."""

        async def send() -> bytes:
            async with self.stream(method, path, **options) as response:
                return await _read(response)

        return await repeat(send)

    def decode(self, kind: type[Answer], body: bytes | str) -> Answer:
        """Return JSON as ``kind``.

        Raises:
            ServerError: It isn't one.
        """
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ServerError(f"{self.url} doesn't answer like a Framegate server; check the URL.") from None

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, follow_redirects: bool = False, **options: Any
    ) -> AsyncGenerator[httpx.Response]:
        """Send a request, and open the body of its answer, which is a success.

        A redirect to another host takes no key with it.

        Raises:
            ServerError: The server refuses it, or the connection is lost, also while the block reads.
        """
        request = self._client.build_request(method, f"{self.url}{path}", **options)
        try:
            response = await self._client.send(request, stream=True, follow_redirects=follow_redirects)
            self._answered = True
            try:
                if not response.is_success:
                    raise await self._refusal(response)
                yield response
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            never = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) and not self._answered
            raise (Unreachable if never else ConnectionFailed)(self._why(error)) from None
        except httpx.HTTPError as error:  # too many redirects, or a body that can't be decoded
            raise ServerError(f"{self.url} gave an answer that can't be read: {error}.") from None

    def _why(self, error: httpx.TransportError) -> str:
        """Return the sentence about a request without an answer."""
        reason = str(error)
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                why = cause.verify_message or reason
                return f"The certificate of {self.url} isn't trusted: {why}. {_CERTIFICATE_HINT}"
            if isinstance(cause, ssl.SSLError):
                return f"{self.url}: TLS failed ({cause.reason or reason}). Does the server speak plain http?"
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.ConnectTimeout):
            return f"{self.url} can't be reached: no connection within {_TIMEOUT.connect:g} s."
        if isinstance(error, httpx.TimeoutException):
            return f"{self.url} gives no answer."
        if isinstance(error, httpx.ConnectError):
            return f"{self.url} can't be reached: {reason or 'no connection'}."
        return f"The connection to {self.url} was lost: {reason or type(error).__name__}."

    def _redirected(self, asked: httpx.URL, target: httpx.URL) -> str:
        """Return the sentence about a redirect: if it were followed, what was sent might be lost."""
        place = target.copy_with(query=None, fragment=None, userinfo=b"")
        rest = asked.path.removeprefix(httpx.URL(self.url).path)
        if place.path.endswith(f"{API}{rest}"):
            there = place.copy_with(path=place.path.removesuffix(f"{API}{rest}"))
            return f"{self.url} redirects to {there}: give that as --url."
        return f"{self.url} redirects to {place}, which is no Framegate server; check the URL."

    async def _refusal(self, response: httpx.Response) -> ServerError:
        """Return the error that an answer stands for, in the server's own words."""
        status = response.status_code
        if response.next_request is not None:
            return ServerError(
                self._redirected(response.request.url, response.next_request.url), status=status
            )
        try:
            problem = msgspec.json.decode(await _read(response), type=_Problem)
        except (msgspec.DecodeError, UnicodeDecodeError):
            problem = _Problem()
        text = _in_one_line(problem)
        if not text:
            what = response.headers.get("content-type", "no content type").partition(";")[0]
            text = (
                f"{self.url} doesn't answer like a Framegate server (status {status}, {what}); check the URL."
            )
        if status == HTTPStatus.UNAUTHORIZED and not self._has_key:
            text += " Set the variable FRAMEGATE_KEY, or give --key."
        if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
            return TryAgain(text, status=status, seconds=_retry_after(response.headers))
        if status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT):
            return ConnectionFailed(text, status=status)
        return ServerError(text, status=status)


async def repeat(send: Callable[[], Awaitable[Answer]], *, attempts: int = _ATTEMPTS) -> Answer:
    """Await ``send`` again while the server is busy or the connection is lost, and return its answer.

    The server says how long the pauses are. One of more than a minute is not made: the error is raised.
    """

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return error.seconds if isinstance(error, TryAgain) else min(2.0 ** (state.attempt_number - 1), 15.0)

    def too_long(state: RetryCallState) -> bool:
        return pause(state) > _LONGEST_PAUSE or stop_after_attempt(attempts)(state)

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, ServerError):
            print_line(f"{error.message} Trying again in {pause(state):g} s.", error=True)

    retrying = AsyncRetrying(
        retry=retry_if_exception_type((TryAgain, ConnectionFailed)),
        wait=pause,
        stop=too_long,
        before_sleep=tell,
        sleep=sleep,
        reraise=True,
    )
    return await retrying(send)


def _api_url(text: str) -> str:
    """Return the URL of the API below the server's own."""
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL as error:
        raise ConfigError(f"--url: {text[:200]!r} is not a URL: {error}.") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(
            f"--url: {text[:200]!r} is not an http(s) URL; write https://video.example.com, or "
            "http://127.0.0.1:8000."
        )
    if url.port is not None and not 0 < url.port < 2**16:
        raise ConfigError(f"--url: there is no port {url.port}.")
    if url.userinfo or url.query or url.fragment:
        raise ConfigError("--url: leave out user, password, query and fragment; the key is given by --key.")
    return str(url.copy_with(path=url.path.rstrip("/").removesuffix(API) + API))


async def _read(response: httpx.Response) -> bytes:
    """Return the body.

    Raises:
        ServerError: It is far larger than any answer of a Framegate server.
    """
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > _MAX_ANSWER:
            raise ServerError(f"The answer has more than {_MAX_ANSWER // 2**20} MiB; check the URL.")
    return bytes(body)


def _in_one_line(problem: _Problem) -> str:
    fields = [f"{error.field}: {error.message}" if error.field else error.message for error in problem.errors]
    sentence = problem.detail or problem.title
    listed = [text for text in fields if text not in sentence and text.partition(": ")[2] not in sentence]
    return " ".join(" ".join([sentence, *listed]).split())


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds of Retry-After, which may also be a date; 5 where there is none."""
    text = headers.get("retry-after", "")
    if text.isdecimal():
        return float(text[:9])
    try:
        moment, now = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, TypeError):
        return 5.0
