"""What small requests cost a server: ``python -m tests.benchmarks.attacks [--fault N] [--json]``.

Starts a server with two keys and the preview backend in a temporary folder, and attacks it with one key
(faults 3 and 8 also without a key) in each way that once stopped it. While an attack runs, another process
asks ``/health`` every 20 ms and another key uploads a small image. Every attack is cut off after 60 s. With
``--url`` the attacks go to a server that runs already; it needs the keys, ``[fetch] allow`` and aliases of
`CONFIG`, and its memory is measured only if ``--pid`` names it.

Everything stays on loopback. The names below ``slow.test`` are resolved by the server itself, slowly.
"""

import argparse
import base64
import json
import os
import resource
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import requests
from msgspec import Struct, to_builtins

from tests.support.attacking import media
from tests.support.attacking.health import HealthProbe
from tests.support.attacking.memory import MemoryWatch, worker_processes
from tests.support.running import COMMAND_WITH_FEW_FILES, RunningServer

CUT_OFF = 60.0
MEASURED = 3.0
"""Seconds for which an attack is measured at least."""
KEYS = {"attacker": "attacker-0123456789abcdef", "neighbour": "neighbour-0123456789abcdef"}
CONFIG = """
[fetch]
allow = ["127.0.0.1"]

[aliases.small]
model = "sora2-landscape-10s"
defaults = { width = 128, height = 96, duration = 1.0 }

[aliases.tiny-image]
model = "gpt-image"
defaults = { width = 64, height = 64 }

[aliases.sora-2]
model = "sora-2"
defaults = { width = 128, height = 96, duration = 1.0 }
""" + "".join(f'[[auth.keys]]\nname = "{name}"\nkey = {{ env = "{name.upper()}_KEY" }}\n' for name in KEYS)
SLOW_NAMES = """
import socket, time
_real = socket.getaddrinfo
def _slow(host, *args, **kwargs):
    if str(host).rstrip(".").endswith("slow.test"):
        time.sleep(10)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return _real(host, *args, **kwargs)
socket.getaddrinfo = _slow
"""
"""The server's ``sitecustomize``: a name server that takes 10 s, without touching this machine's."""


class Answer(Struct, kw_only=True):
    """How a request of the attack ended: an HTTP status or an error, and when."""

    status: int | str
    seconds: float
    size: int = 0


class Report(Struct, kw_only=True):
    """What one attack did. Memory is in MB, times are in seconds."""

    fault: int
    name: str
    answers: list[Answer]
    seconds: float = 0.0
    api_growth_mb: float | None = None
    worker_growth_mb: float | None = None
    health: dict[str, float] = {}
    uploads: list[float] = []
    log_growth_mb: float | None = None


class Target:
    """The server under attack, as both keys see it."""

    def __init__(self, url: str, pid: int | None, log: Path | None = None) -> None:
        self.url = url
        self.pid = pid
        self.log = log

    def headers(self, name: str = "attacker") -> dict[str, str]:
        """Return the headers that a key's requests have."""
        return {"Authorization": f"Bearer {KEYS[name]}"}

    def post(self, path: str, **arguments: Any) -> Answer:
        """Send a request with the attacker's key."""
        return self._answer(
            lambda: requests.post(
                self.url + path,
                headers=self.headers() | arguments.pop("headers", {}),
                timeout=CUT_OFF,
                **arguments,
            )
        )

    def get(self, path: str) -> Answer:
        """Send a request without a key."""
        return self._answer(lambda: requests.get(self.url + path, timeout=CUT_OFF))

    def upload(self) -> float:
        """Return how long the neighbour's small image takes to be decoded and accepted."""
        body = {
            "model": "tiny-image",
            "prompt": "A cat",
            "image": base64.b64encode(media.png()).decode(),
            "async_mode": True,
        }
        started = time.monotonic()
        with suppress(requests.RequestException):
            answer = requests.post(
                f"{self.url}/v1/images/transform",
                json=body,
                headers=self.headers("neighbour"),
                timeout=CUT_OFF,
            )
            assert answer.status_code in (200, 429, 503), answer.text
        return time.monotonic() - started

    def _answer(self, send: Callable[[], requests.Response]) -> Answer:
        started = time.monotonic()
        status: int | str
        try:
            response = send()
            status, size = response.status_code, len(response.content)
        except requests.RequestException as error:
            status, size = type(error).__name__, 0
        return Answer(status=status, seconds=round(time.monotonic() - started, 3), size=size)


Attack = Callable[[Target], list[Answer]]
ATTACKS: list[tuple[int, str, Attack]] = []


def attack(fault: int, name: str) -> Callable[[Attack], Attack]:
    """Add an attack to the table."""

    def add(run: Attack) -> Attack:
        ATTACKS.append((fault, name, run))
        return run

    return add


def together(sends: Sequence[Callable[[], Answer]]) -> list[Answer]:
    """Send requests at the same time."""
    with ThreadPoolExecutor(len(sends)) as pool:
        return [future.result() for future in [pool.submit(send) for send in sends]]


def chat(target: Target, text: str, model: str) -> Answer:
    return target.post(
        "/v1/chat/completions",
        json={"model": model, "stream": True, "messages": [{"role": "user", "content": text}]},
    )


@attack(1, "storyboard of 22,500 shots behind a text of 180,000 characters")
def long_storyboard(target: Target) -> list[Answer]:
    body = {
        "model": "sora2-landscape-10s",
        "async_mode": True,
        "prompt": "c" * 180_000 + "[.001s]a" * 22_500,
    }
    return [target.post("/v1/videos/storyboard", json=body)]


@attack(1, "chat with a storyboard of 12,500 shots")
def storyboard_in_chat(target: Target) -> list[Answer]:
    return [chat(target, "c" * 50_000 + "[1s]a" * 10_000, "sora2-landscape-10s")]


@attack(2, "chat of 80,000 spaces, to each dialect")
def many_spaces(target: Target) -> list[Answer]:
    return [
        chat(target, "a" + " " * 80_000 + "b", model) for model in ("small", "tiny-image", "ltx2_landscape")
    ]


@attack(2, "chat of 80,000 spaces alone, to each dialect")
def only_spaces(target: Target) -> list[Answer]:
    return [chat(target, " " * 80_000, model) for model in ("small", "tiny-image", "ltx2_landscape")]


@attack(2, "chat of 8,571 beginnings of links before a share id")
def many_links(target: Target) -> list[Answer]:
    return [chat(target, "http://" * 8571 + " s_" + "0" * 32, "small")]


@attack(2, "80,000 braces, brackets, at signs and digits")
def other_patterns(target: Target) -> list[Answer]:
    texts = ("{" * 80_000, "[" + " " * 80_000, "[" + "1" * 80_000, "@" * 80_000, "s_" * 40_000, "`" * 80_000)
    return [chat(target, text, "small") for text in texts]


@attack(3, "1,060 connections without a key that send half a header")
def half_headers(target: Target) -> list[Answer]:
    host, port = target.url.removeprefix("http://").split(":")
    with ExitStack() as held:
        started = time.monotonic()
        for _ in range(1060):
            with suppress(OSError):
                connection = held.enter_context(socket.create_connection((host, int(port)), timeout=2))
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Half: ")
        time.sleep(15)
        return [Answer(status="held", seconds=round(time.monotonic() - started, 3))]


@attack(4, "16.9 MB of unknown fields to /predict")
def unknown_fields(target: Target) -> list[Answer]:
    text = "{" + ",".join(f'"{index}":{index % 10}' for index in range(1_500_000)) + "}"
    return [target.post("/predict", data=text.encode(), headers={"Content-Type": "application/json"})]


@attack(4, "wrong values of one field's list, 4.3 MB, to /v1/images/edits")
def wrong_items(target: Target) -> list[Answer]:
    text = '{"prompt":"x","images":[' + ",".join(["{}"] * 1_400_000) + "]}"
    return [target.post("/v1/images/edits", data=text.encode(), headers={"Content-Type": "application/json"})]


@attack(4, "9.9 MB of k0=1&… as a form, and 3.9 MB")
def many_form_fields(target: Target) -> list[Answer]:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    sizes = (9_900_000, 3_900_000)
    return [
        target.post(
            "/v1/videos", data=("&".join(f"k{i}=1" for i in range(size // 9)))[:size], headers=headers
        )
        for size in sizes
    ]


@attack(4, "900 fields of 10 kB, nested 3,000 deep, as a form")
def nested_form_fields(target: Target) -> list[Answer]:
    deep = "[a]" * 1_300
    text = "&".join(f"k{index}{deep}=1" for index in range(900))
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return [target.post("/v1/images/edits", data=text, headers=headers)]


@attack(5, "24 MB of data:,%41…")
def percent_encoded(target: Target) -> list[Answer]:
    body = {"model": "tiny-image", "prompt": "x", "async_mode": True, "image": "data:," + "%41" * 8_000_000}
    return [target.post("/v1/images/transform", json=body)]


@attack(5, "90 MB of base64 with white space")
def spaced_base64(target: Target) -> list[Answer]:
    body = {"model": "tiny-image", "prompt": "x", "async_mode": True, "image": "A " * 45_000_000}
    return [target.post("/v1/images/transform", json=body)]


@attack(6, "a progressive JPEG of 1 MB with 12,000 scans, twice at once")
def many_scans(target: Target) -> list[Answer]:
    image = base64.b64encode(media.scan_bomb(12_000)).decode()
    body = {"model": "tiny-image", "prompt": "x", "async_mode": True, "image": image}
    return together([lambda: target.post("/v1/images/transform", json=body)] * 2)


@attack(6, "10 s of 4096 × 4096 pixels at 240 frames a second as a character")
def heavy_character(target: Target) -> list[Answer]:
    video = media.static_video(4096, 2400, 240)
    return [
        target.post(
            "/v1/videos/characters", data={"name": "x"}, files={"video": ("v.mp4", video, "video/mp4")}
        )
    ]


@attack(7, "an extension of a second of picture with half an hour of silence")
def long_silence(target: Target) -> list[Answer]:
    video = media.video_with_silence(30)
    response = requests.post(
        f"{target.url}/v1/videos/extensions",
        data={"model": "sora-2", "prompt": "on", "seconds": "4"},
        files={"video": ("v.mp4", video, "video/mp4")},
        headers=target.headers(),
        timeout=CUT_OFF,
    )
    answers = [Answer(status=response.status_code, seconds=response.elapsed.total_seconds())]
    if response.status_code != 200:
        return answers
    started = time.monotonic()
    while (state := _state(target, response.json()["id"])) in ("queued", "in_progress"):
        if time.monotonic() - started > CUT_OFF:
            break
        time.sleep(0.2)
    return [*answers, Answer(status=state, seconds=round(time.monotonic() - started, 3))]


def _state(target: Target, video: str) -> str:
    found = requests.get(f"{target.url}/v1/videos/{video}", headers=target.headers(), timeout=CUT_OFF).json()
    return str(found.get("status"))


@attack(8, "24 images behind slow name servers")
def slow_names(target: Target) -> list[Answer]:
    def send(index: int) -> Answer:
        body = {
            "model": "tiny-image",
            "prompt": "x",
            "async_mode": True,
            "image": f"http://h{index}.slow.test/",
        }
        return target.post("/v1/images/transform", json=body)

    return together([lambda index=index: send(index) for index in range(24)])  # type: ignore[misc]


@attack(8, "60 reads without a key of one image's link in WebP")
def many_reads(target: Target) -> list[Answer]:
    made = requests.post(
        f"{target.url}/v1/images/generations",
        json={
            "model": "gpt-image",
            "prompt": "x",
            "size": "2048x2048",
            "output_format": "webp",
            "response_format": "url",
        },
        headers=target.headers(),
        timeout=CUT_OFF,
    )
    if made.status_code != 200:
        return [Answer(status=made.status_code, seconds=made.elapsed.total_seconds())]
    path = made.json()["data"][0]["url"].removeprefix(target.url)
    return together([lambda: target.get(path)] * 60)


@attack(9, "an image_url of 24 MB")
def long_url(target: Target) -> list[Answer]:
    url = "http://127.0.0.1/" + "a" * 24_000_000
    return [
        target.post("/video/submit", json={"prompt": "A cat on a sofa", "image_url": url}),
        target.post("/predict", json={"prompt": "A cat on a sofa", "image_url": url}),
        target.post("/v1/images/transform", json={"prompt": "x", "image": url, "async_mode": True}),
    ]


@attack(9, "20 uploads of 60 MB that stop before their last byte")
def unfinished_uploads(target: Target) -> list[Answer]:
    host, port = target.url.removeprefix("http://").split(":")
    size, chunk = 60_000_000, bytes(1_000_000)
    head = (
        f"POST /v1/images/transform HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {KEYS['attacker']}\r\nContent-Length: {size}\r\n\r\n"
    ).encode()

    def hold(connection: socket.socket) -> int:
        sent = 0
        with suppress(OSError):
            connection.sendall(head)
            while sent + len(chunk) < size:
                connection.sendall(chunk)
                sent += len(chunk)
        return sent

    started = time.monotonic()
    with ExitStack() as held, ThreadPoolExecutor(20) as pool:
        opened = [
            held.enter_context(socket.create_connection((host, int(port)), timeout=10)) for _ in range(20)
        ]
        sent = sum(pool.map(hold, opened))
        time.sleep(5)
        return [Answer(status="held", seconds=round(time.monotonic() - started, 3), size=sent)]


def run(target: Target, fault: int, name: str, attack: Attack) -> Report:
    """Run one attack, and measure what it does to others."""
    uploads: list[float] = []
    ended = threading.Event()

    def upload() -> None:
        while not ended.is_set():
            uploads.append(target.upload())
            ended.wait(0.25)

    log_before = target.log.stat().st_size if target.log else 0
    started = time.monotonic()
    with ExitStack() as measuring:
        api = measuring.enter_context(MemoryWatch(target.pid)) if target.pid else None
        workers = measuring.enter_context(MemoryWatch(target.pid, worker_processes)) if target.pid else None
        probe = measuring.enter_context(HealthProbe(target.url))
        neighbour = threading.Thread(target=upload)
        neighbour.start()
        try:
            answers = attack(target)
            time.sleep(max(0.0, started + MEASURED - time.monotonic()))
        finally:
            ended.set()
            neighbour.join()
    latencies = probe.latencies
    return Report(
        fault=fault,
        name=name,
        answers=answers,
        seconds=round(time.monotonic() - started, 2),
        api_growth_mb=_mb(api.growth) if api else None,
        worker_growth_mb=_mb(workers.growth) if workers else None,
        health={
            "p50": round(latencies.quantile(0.5), 4),
            "p99": round(latencies.quantile(0.99), 4),
            "max": round(latencies.longest, 4),
            "samples": len(latencies.measured),
        },
        uploads=[round(seconds, 3) for seconds in uploads],
        log_growth_mb=_mb(target.log.stat().st_size - log_before) if target.log else None,
    )


def _mb(size: int) -> float:
    return round(size / 1e6, 1)


def shown(report: Report) -> str:
    """Return a report as text."""
    counts: dict[int | str, list[float]] = {}
    for answer in report.answers:
        counts.setdefault(answer.status, []).append(answer.seconds)
    answers = ", ".join(f"{len(times)}× {status} in ≤ {max(times):.2f} s" for status, times in counts.items())
    uploads = report.uploads or [0.0]
    return (
        f"{report.fault}  {report.name}\n"
        f"   answers: {answers}\n"
        f"   memory of the API +{report.api_growth_mb} MB, of workers +{report.worker_growth_mb} MB, "
        f"log +{report.log_growth_mb} MB\n"
        f"   /health p50 {1000 * report.health['p50']:.0f} ms, p99 {1000 * report.health['p99']:.0f} ms, "
        f"longest {1000 * report.health['max']:.0f} ms ({report.health['samples']:.0f} samples)\n"
        f"   another key's upload: median {statistics.median(uploads):.2f} s, longest {max(uploads):.2f} s"
    )


@contextmanager
def own_server(folder: Path) -> Generator[Target]:
    """Start the server, with the soft limit of 1,024 files that shells and containers often give."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(SLOW_NAMES)
    environ = {f"{name.upper()}_KEY": key for name, key in KEYS.items()}
    environ["PYTHONPATH"] = os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")])
    server = RunningServer(
        folder / "data",
        config=CONFIG,
        environ=environ,
        command=COMMAND_WITH_FEW_FILES,
    )
    try:
        server.wait_until_ready()
        yield Target(server.url, server.process.pid, server.log)
    finally:
        server.terminate()
        with suppress(Exception):
            server.process.wait(30)
        server.process.kill()


def main() -> None:
    """Run the attacks that the arguments choose."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fault", type=int, choices=range(1, 10), help="only this fault's attacks")
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--pid", type=int, help="its process, to measure its memory")
    parser.add_argument("--json", action="store_true", help="print JSON, one attack a line")
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard) if soft < 8192 else (soft, hard))
    chosen = [entry for entry in ATTACKS if arguments.fault in (None, entry[0])]
    for fault, name, each in chosen:
        with ExitStack() as stack:
            if arguments.url:
                target = Target(arguments.url, arguments.pid)
            else:  # a new one for every attack, so that none stands in the last one's ruins
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                target = stack.enter_context(own_server(folder))
            target.upload()
            report = run(target, fault, name, each)
        print(json.dumps(to_builtins(report)) if arguments.json else shown(report), flush=True)


if __name__ == "__main__":
    main()
