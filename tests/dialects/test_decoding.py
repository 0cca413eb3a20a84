"""Files that take long to decode, sent to a server by two clients."""

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import requests

from tests.support.attacking.media import png, scan_bomb, static_video
from tests.support.running import RunningServer, eventually
from tests.support.small_models import FETCHING, KEYS

SECONDS = 4
CONFIG = (
    FETCHING
    + f"[decoding]\nprocesses = 2\ntimeout = {SECONDS}\n"
    + "".join(f'[[auth.keys]]\nname = "{name}"\nkey = {{ env = "{name.upper()}_KEY" }}\n' for name in KEYS)
)
ALICE, BOB = ({"Authorization": f"Bearer {KEYS[name]}"} for name in ("alice", "bob"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    running = RunningServer(
        tmp_path_factory.mktemp("decoding") / "data",
        config=CONFIG,
        environ={f"{name.upper()}_KEY": key for name, key in KEYS.items()},
    )
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()


@pytest.fixture(scope="module")
def heavy_video() -> bytes:
    """Ten seconds of 4096² at 60 frames a second, which is about as much as is accepted."""
    return static_video(4096, 600, 60)


def busy(server: RunningServer) -> psutil.Process | None:
    """Return a decoder that works on a stored video, from which it makes the images of a character."""
    stored = server.data_dir / "files" / "inputs"
    for decoder in server.decoders():
        with suppress(psutil.NoSuchProcess):
            if any(Path(file.path).parent == stored for file in decoder.open_files()):
                return decoder
    return None


def scratch_folders(server: RunningServer) -> list[str]:
    return [path.name for path in server.data_dir.rglob("input-*")]


def create_character(server: RunningServer, video: bytes) -> requests.Response:
    return requests.post(
        f"{server.url}/v1/videos/characters",
        data={"name": "Zoe"},
        files={"video": ("video.mp4", io.BytesIO(video), "video/mp4")},
        headers=ALICE,
        timeout=60,
    )


def test_heavy_files_of_one_key_do_not_delay_another(server: RunningServer, heavy_video: bytes) -> None:
    answers: list[requests.Response] = []
    senders = [
        threading.Thread(target=lambda: answers.append(create_character(server, heavy_video)))
        for _ in range(2)
    ]
    for sender in senders:
        sender.start()
    eventually(lambda: busy(server), what="a busy decoder")
    mine = requests.post(
        f"{server.url}/v1/videos",
        data={"model": "sora-2", "prompt": "a boat"},
        files={"input_reference": ("boat.png", png(), "image/png")},
        headers=BOB,
        timeout=60,
    )
    assert mine.status_code == 200, mine.text
    assert len(answers) < 2, "the other key's files are still being decoded"
    for sender in senders:
        sender.join()
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", "video")
        assert f"{SECONDS} s" in error["message"]
        assert "to decode" in error["message"]
    eventually(lambda: len(server.decoders()) == 2, what="fresh decoders")
    assert not scratch_folders(server)


def test_a_client_that_leaves_frees_its_decoder(server: RunningServer, heavy_video: bytes) -> None:
    boundary = "limit"
    content = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\nZoe\r\n--{boundary}\r\n'
        'Content-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
    ).encode()
    content += heavy_video + f"\r\n--{boundary}--\r\n".encode()
    head = (
        "POST /v1/videos/characters HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: {ALICE['Authorization']}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head.encode() + content)
        process = eventually(lambda: busy(server), what="a busy decoder")
    eventually(lambda: process not in server.decoders(), what="the decoder's end")
    eventually(lambda: not scratch_folders(server), what="an empty scratch folder")


def test_a_jpeg_of_many_scans_is_refused_without_being_decoded(server: RunningServer) -> None:
    answer = requests.post(
        f"{server.url}/v1/videos",
        data={"model": "sora-2", "prompt": "a boat"},
        files={"input_reference": ("boat.jpg", scan_bomb(12_000), "image/jpeg")},
        headers=ALICE,
        timeout=60,
    )
    assert answer.status_code == 400, answer.text
    assert "more than 100 scans" in answer.json()["error"]["message"]
