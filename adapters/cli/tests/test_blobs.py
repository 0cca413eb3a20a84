"""Large files of a hub: what becomes of connections that break, and of a hub that is busy."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from framegate.cli.hub.blobs import TRIES, Blob, BlobFetcher, PullFailed

DATA = bytes(range(256)) * 400
BLOB = Blob("weights", "http://hub/weights", len(DATA), hashlib.sha256(DATA).hexdigest())


class Breaking(httpx.SyncByteStream):
    """A body that ends with a broken connection."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        raise httpx.ReadError("reset")


class Hub:
    """Answers the first requests as it is told, and the later ones as it should."""

    def __init__(self, *answers: Callable[[bytes], httpx.Response]) -> None:
        self.answers = list(answers)
        self.pauses: list[float] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        rest = DATA[int(request.headers["Range"][6:-1]) :]
        return (
            self.answers.pop(0)(rest) if self.answers else httpx.Response(206, stream=httpx.ByteStream(rest))
        )


def broken(rest: bytes) -> httpx.Response:
    return httpx.Response(206, stream=Breaking(rest[:5000]))


def broken_at_once(_: bytes) -> httpx.Response:
    return httpx.Response(206, stream=Breaking(b""))


def busy(status: int, **headers: str) -> Callable[[bytes], httpx.Response]:
    return lambda _: httpx.Response(status, headers=headers)


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Hub], bytes]:
    def fetch(hub: Hub) -> bytes:
        client = partial(httpx.Client, transport=httpx.MockTransport(hub))
        monkeypatch.setattr(httpx, "Client", client)
        stopping = threading.Event()

        def wait(seconds: float) -> bool:
            hub.pauses.append(seconds)
            return False

        monkeypatch.setattr(stopping, "wait", wait)
        fetcher = BlobFetcher(tmp_path, {}, advance=lambda _: None, stopping=stopping)
        try:
            assert fetcher.fetch(BLOB) == len(DATA)
        finally:
            fetcher.close()
        return (tmp_path / BLOB.sha256).read_bytes()

    return fetch


def test_a_long_download_may_break_often(fetch: Callable[[Hub], bytes]) -> None:
    hub = Hub(*[broken] * (TRIES + 1))
    assert fetch(hub) == DATA
    assert len({*hub.pauses}) == 1, "each break follows some progress"


def test_what_never_comes_is_given_up(fetch: Callable[[Hub], bytes]) -> None:
    with pytest.raises(PullFailed, match=r"weights could not .*: the connection broke \(ReadError\)\. Pull"):
        fetch(Hub(broken, *[broken_at_once] * TRIES))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_hub_is_asked_again(fetch: Callable[[Hub], bytes], status: int) -> None:
    hub = Hub(busy(status), busy(status, **{"Retry-After": "30"}), busy(status, **{"Retry-After": "soon"}))
    assert fetch(hub) == DATA
    assert hub.pauses == [0.2, 30.0, 5.0]


def test_a_hub_that_stays_busy_is_given_up(fetch: Callable[[Hub], bytes]) -> None:
    with pytest.raises(PullFailed, match="the hub answers 503"):
        fetch(Hub(*[busy(503)] * TRIES))
    with pytest.raises(PullFailed, match=r"weights: the hub answers 404\."):
        fetch(Hub(busy(404)))
