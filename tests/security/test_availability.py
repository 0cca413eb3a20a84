"""Heavy attacks, in numbers: the server stays small and quick, and another key's upload goes through."""

import base64
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import NamedTuple

import pytest
import requests

from tests.security.case import OWNER, STRANGER
from tests.security.conftest import CONFIG, KEYS, MEMORY, Fortress, running_fortress
from tests.support.attacking import media
from tests.support.attacking.health import HealthProbe, Latencies
from tests.support.attacking.memory import MemoryWatch, worker_processes
from tests.support.running import COMMAND_WITH_FEW_FILES

P99 = 0.25
"""Seconds within which 99 of 100 requests to ``/health`` are answered while an attack runs."""
UPLOAD = 2.0
"""Seconds that another key's small upload may take meanwhile."""
AT_LEAST = 2.5
"""Seconds for which each attack is measured: a hundred samples of a quiet server."""

Attack = Callable[[Fortress], list[int]]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    """A server with two keys, which is used once before anything is measured."""
    with running_fortress(tmp_path_factory, CONFIG, command=COMMAND_WITH_FEW_FILES) as running:
        for _ in range(3):
            upload(running)
        yield running


@pytest.fixture(scope="module")
def idle(target: Fortress) -> Latencies:
    """What the machine allows at the moment, without an attack."""
    with HealthProbe(target.server.url) as probe:
        time.sleep(AT_LEAST)
    return probe.latencies


def send(target: Fortress, path: str, **arguments: object) -> int:
    """Send a request with the attacker's key; 0 stands for a connection that was closed."""
    headers = {"Authorization": f"Bearer {KEYS[STRANGER]}", **arguments.pop("headers", {})}  # type: ignore[dict-item]
    try:
        answer = requests.post(target.server.url + path, headers=headers, timeout=60, **arguments)  # type: ignore[arg-type]
    except requests.ConnectionError:
        return 0
    return answer.status_code


def upload(target: Fortress) -> float:
    """Return how long the other key's small image takes to be decoded and accepted."""
    started = time.monotonic()
    target.as_owner(
        "POST",
        "/v1/images/transform",
        json={
            "model": "tiny-image",
            "prompt": "x",
            "image": base64.b64encode(media.png()).decode(),
            "async_mode": True,
        },
    )
    return time.monotonic() - started


def at_once(count: int, one: Callable[[], int]) -> list[int]:
    """Send the same request several times at the same time."""
    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(one) for _ in range(count)]]


def storyboard(target: Fortress) -> list[int]:
    prompt = "c" * 180_000 + "[.001s]a" * 22_500
    body = {"model": "sora2-landscape-10s", "async_mode": True, "prompt": prompt}
    return at_once(4, lambda: send(target, "/v1/videos/storyboard", json=body))


def chat_texts(target: Fortress) -> list[int]:
    texts = ("a" + " " * 80_000 + "b", "http://" * 8571 + " s_" + "0" * 32, "{" * 80_000, "[ 1" * 26_000)
    return [
        send(
            target,
            "/v1/chat/completions",
            json={"model": "small", "style": "none-such", "messages": [{"role": "user", "content": text}]},
        )
        for text in texts
    ]


def half_headers(target: Fortress) -> list[int]:
    with ExitStack() as held:
        for _ in range(1_060):
            with suppress(OSError):
                connection = held.enter_context(
                    socket.create_connection(("127.0.0.1", target.server.port), timeout=2)
                )
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Half: ")
        time.sleep(AT_LEAST)
    return [0]


def unknown_fields(target: Fortress) -> list[int]:
    text = "{" + ",".join(f'"{index}":{index % 10}' for index in range(1_500_000)) + "}"
    headers = {"Content-Type": "application/json"}
    return [send(target, path, data=text, headers=headers) for path in ("/predict", "/v1/videos")]


def many_items(target: Fortress) -> list[int]:
    text = '{"prompt":"x","images":[' + ",".join(["{}"] * 1_400_000) + "]}"
    return [send(target, "/v1/images/edits", data=text, headers={"Content-Type": "application/json"})]


def form_fields(target: Fortress) -> list[int]:
    text = "&".join(f"k{index}=1" for index in range(1_100_000))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return [send(target, path, data=text, headers=headers) for path in ("/v1/videos", "/v1/images/edits")]


def wide_characters(target: Fortress) -> list[int]:
    """A single character beyond Latin-1 lets a text of Python's take four bytes for each letter."""
    parts = {"prompt": (None, "\U0001f600" + "a" * 60_000_000)}
    image_url = "\\ud83d\\ude00" + "A" * 60_000_000
    headers = {"Content-Type": "application/json"}
    return [
        send(target, "/v1/videos", files=parts),
        send(target, "/v1/videos", data=f'{{"prompt": "x", "image_url": "{image_url}"}}', headers=headers),
    ]


def small_values(target: Fortress) -> list[int]:
    values = "[" + ",".join(["[]"] * 32_000) + "]"
    parts = {f"k{index}": (None, values, "application/json") for index in range(10)}
    whole = '{"prompt": "x", "seed": [' + ",".join(["[]"] * 340_000) + "]}"
    headers = {"Content-Type": "application/json"}
    return [
        *at_once(8, lambda: send(target, "/v1/videos", files=parts)),
        *at_once(16, lambda: send(target, "/predict", data=whole, headers=headers)),
    ]


def percent_signs(target: Fortress) -> list[int]:
    body = {"model": "tiny-image", "prompt": "x", "image": "data:," + "%41" * 8_000_000}
    return [send(target, "/v1/images/transform", json=body)]


def spaced_base64(target: Fortress) -> list[int]:
    body = {"model": "tiny-image", "prompt": "x", "image": "A " * 40_000_000}
    return [send(target, "/v1/images/transform", json=body)]


def scans(target: Fortress) -> list[int]:
    image = base64.b64encode(media.scan_bomb(12_000)).decode()
    body = {"model": "tiny-image", "prompt": "x", "async_mode": True, "image": image}
    return at_once(2, lambda: send(target, "/v1/images/transform", json=body))


def big_images(target: Fortress) -> list[int]:
    image = media.png(4096, 4096)
    return at_once(
        4,
        lambda: send(
            target,
            "/v1/images/edits",
            data={"prompt": "", "model": "tiny-image"},
            files={"image": ("x.png", image, "image/png")},
        ),
    )


def heavy_character(target: Fortress) -> list[int]:
    video = media.static_video(4096, 2_400, 240)
    files = {"video": ("v.mp4", video, "video/mp4")}
    return [send(target, "/v1/videos/characters", data={"name": "x"}, files=files)]


def slow_names(target: Fortress) -> list[int]:
    numbers = iter(range(24))
    return at_once(
        24,
        lambda: send(
            target,
            "/v1/images/transform",
            json={"model": "tiny-image", "prompt": "x", "image": f"http://h{next(numbers)}.slow.test/"},
        ),
    )


def long_urls(target: Fortress) -> list[int]:
    url = "http://127.0.0.1/" + "a" * 24_000_000
    return [
        send(target, "/video/submit", json={"prompt": "A cat on a sofa", "image_url": url}),
        send(target, "/predict", json={"prompt": "A cat on a sofa", "image_url": url}),
        send(target, "/v1/images/transform", json={"prompt": "x", "image": url}),
    ]


def large_files(target: Fortress) -> list[int]:
    return fetch_at_once(target, 24, "/large")


def tiny_chunks(target: Fortress) -> list[int]:
    return fetch_at_once(target, 40, "/chunks")


def fetch_at_once(target: Fortress, count: int, path: str) -> list[int]:
    url = f"http://pictures.test:{target.values['pictures']}{path}"
    body = {"model": "tiny-image", "prompt": "x", "image": url}
    return at_once(count, lambda: send(target, "/v1/images/transform", json=body))


def unfinished_uploads(target: Fortress) -> list[int]:
    return hold_uploads(target, "/v1/images/transform", "application/json", bytes(1_000_000))


def unfinished_forms(target: Fortress) -> list[int]:
    """Parts that are complete, each of which would fit into memory, in forms that are not."""
    part = b'--b\r\nContent-Disposition: form-data; name="k"; filename="x"\r\n\r\n'
    return hold_uploads(
        target, "/v1/videos", "multipart/form-data; boundary=b", part.ljust(999_998) + b"\r\n"
    )


def hold_uploads(target: Fortress, path: str, kind: str, chunk: bytes) -> list[int]:
    size = 60_000_000
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {target.values['host']}\r\n"
        f"Content-Type: {kind}\r\nAuthorization: Bearer {KEYS[STRANGER]}\r\n"
        f"Content-Length: {size}\r\n\r\n"
    ).encode()

    def fill(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(head)
            for _ in range(size // len(chunk) - 1):
                connection.sendall(chunk)

    with ExitStack() as held, ThreadPoolExecutor(20) as pool:
        opened = [
            held.enter_context(socket.create_connection(("127.0.0.1", target.server.port), timeout=3))
            for _ in range(20)
        ]
        list(pool.map(fill, opened))
        time.sleep(1)
    return [0]


REFUSED = (400, 413, 422)
ATTACKS: Mapping[str, tuple[Attack, tuple[int, ...]]] = {
    "a storyboard of 22,500 shots": (storyboard, REFUSED),
    "chats that patterns are slow with": (chat_texts, (400, 404)),
    "1,060 half headers": (half_headers, (0,)),
    "16.9 MB of unknown fields": (unknown_fields, (0, *REFUSED)),
    "a list of 1.4 million empty objects": (many_items, (0, *REFUSED)),
    "a form of 1.1 million fields": (form_fields, (0, *REFUSED)),
    "60 MB of text with one wide character": (wide_characters, (413,)),
    "320,000 small values": (small_values, (400, 413)),
    "24 MB of percent signs": (percent_signs, (0, *REFUSED)),
    "80 MB of base64 with spaces": (spaced_base64, (0, *REFUSED)),
    "a JPEG of 12,000 scans, twice": (scans, REFUSED),
    "four images of 4096 pixels a side": (big_images, (*REFUSED, 429, 503)),
    "a character of 2,400 large frames": (heavy_character, (200, 429, *REFUSED)),
    "24 slow name servers": (slow_names, (400, 429, 503)),
    "24 files of 49 MB to be fetched": (large_files, (400, 429, 503)),
    "40 files in chunks of one byte": (tiny_chunks, (400, 429, 503)),
    "a URL of 24 MB": (long_urls, (0, 400, 413, 414, 422)),
    "20 unfinished uploads": (unfinished_uploads, (0,)),
    "20 unfinished forms": (unfinished_forms, (0,)),
}


class Attacked(NamedTuple):
    """What others saw during an attack; ``uploads`` are the seconds that another key's took."""

    statuses: list[int]
    latencies: Latencies
    uploads: list[float]
    memory: int
    logged: int

    def served_others(self, idle: Latencies) -> bool:
        """Whether others were served about as well as without the attack."""
        usual = idle.quantile(0.99)
        return (
            self.latencies.quantile(0.99) <= max(P99, 3 * usual)
            and statistics.median(self.uploads) <= max(UPLOAD, 10 * usual)
            and max(self.uploads) <= max(2 * UPLOAD, 20 * usual)
        )


def attacked(target: Fortress, attack: Attack) -> Attacked:
    uploads: list[float] = []
    ended = threading.Event()

    def keep_uploading() -> None:
        while not ended.wait(0.3):
            uploads.append(upload(target))

    others = threading.Thread(target=keep_uploading)
    log_before = target.server.log.stat().st_size
    with MemoryWatch(target.server.process.pid) as memory, HealthProbe(target.server.url) as probe:
        others.start()
        started = time.monotonic()
        try:
            statuses = attack(target)
            time.sleep(max(0.0, started + AT_LEAST - time.monotonic()))
        finally:
            ended.set()
            others.join()
    logged = target.server.log.stat().st_size - log_before
    return Attacked(statuses, probe.latencies, uploads, memory.growth, logged)


@pytest.mark.parametrize("name", ATTACKS)
def test_others_are_served(target: Fortress, idle: Latencies, name: str) -> None:
    """An attack that harms others does so each time; a machine that halts for a moment doesn't."""
    attack, expected = ATTACKS[name]
    slow = []
    for _ in range(3):
        seen = attacked(target, attack)
        assert set(seen.statuses) <= set(expected)
        assert seen.memory <= MEMORY, f"{seen.memory / 1e6:.0f} MB"
        assert seen.logged < 1_000_000
        if seen.served_others(idle):
            return
        slow.append((seen.latencies.quantile(0.99), max(seen.uploads)))
    pytest.fail(f"99 % of /health, and the longest upload, in seconds: {slow}")


def test_half_an_hour_of_silence_in_a_worker(target: Fortress) -> None:
    """The sound that a worker reads ends where the picture does."""
    video = media.video_with_silence(9.5)
    with MemoryWatch(target.server.process.pid, worker_processes) as memory:
        made = requests.post(
            f"{target.server.url}/v1/videos/extensions",
            headers={"Authorization": f"Bearer {KEYS[OWNER]}"},
            data={"model": "sora-2", "prompt": "on", "seconds": "1"},
            files={"video": ("v.mp4", video, "video/mp4")},
            timeout=60,
        )
        if made.status_code == 200:
            path = f"/v1/videos/{made.json()['id']}"
            deadline = time.monotonic() + 60
            while target.as_owner("GET", path)["status"] in ("queued", "in_progress"):
                assert time.monotonic() < deadline
                time.sleep(0.1)
        else:
            assert made.status_code == 400
    assert memory.growth <= MEMORY, f"{memory.growth / 1e6:.0f} MB"


def test_the_log_stays_clean(target: Fortress) -> None:
    target.check_log()
