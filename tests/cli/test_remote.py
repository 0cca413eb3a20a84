"""Commands on a server elsewhere: with keys, over TLS, below a path."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import av
import pytest
from msgspec import Struct

from framegate.core.testing import gradient_png
from tests.support.code_blocks import code_blocks
from tests.support.in_process import Done, run_command
from tests.support.running import RunningServer, clean_environ
from tests.support.tls_proxy import tls_proxy

ALICE, BOB = "alice-secret-1", "bob-secret-2"
KEYS = "".join(
    f'[[auth.keys]]\nname = "{name}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
    for name, key in (("alice", ALICE), ("bob", BOB))
)
CONFIG = f'[server]\ntrusted_proxies = ["127.0.0.1"]\n{KEYS}'


class Elsewhere(Struct):
    """A server behind a proxy, and the folder in which commands for it are run."""

    server: RunningServer
    url: str
    trusted: Path
    folder: Path

    def environ(self, key: str) -> dict[str, str]:
        variables = {"FRAMEGATE_URL": self.url, "FRAMEGATE_KEY": key, "SSL_CERT_FILE": str(self.trusted)}
        return clean_environ(variables)

    def run(self, *arguments: str, key: str = ALICE, stdin: bytes = b"") -> Done:
        return run_command(arguments, environ=self.environ(key), cwd=self.folder, stdin=stdin)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Generator[Elsewhere]:
    folder = tmp_path_factory.mktemp("elsewhere")
    server = RunningServer(folder / "data", config=CONFIG)
    try:
        server.wait_until_ready()
        work = folder / "work"
        work.mkdir()
        with tls_proxy(server.port, "/films", folder) as (url, trusted):
            yield Elsewhere(server, url, trusted, work)
    finally:
        server.stop()


def test_a_job_from_its_request_to_its_end(elsewhere: Elsewhere) -> None:
    photo = gradient_png(elsewhere.folder / "photo.png")
    size = ("--width", "97", "--height", "64", "--num-frames", "9", "--seed", "5")
    made = elsewhere.run("generate", "a boat", "--image", photo.name, *size, "-o", "boat.mp4", "--json")
    assert made.returncode == 0, made.stderr
    report = json.loads(made.stdout)
    assert (report["output"], report["seed"]) == ("boat.mp4", 5)
    assert [(c["field"], c["asked"], c["used"]) for c in report["changes"]] == [("width", 97, 96)]
    with av.open(elsewhere.folder / "boat.mp4") as video:
        assert (video.streams.video[0].width, video.streams.video[0].frames) == (96, 9)

    job_id = report["job_id"]
    shown = elsewhere.run("jobs", "show", job_id).stdout
    for text in ("succeeded", "a boat", "97×64 → 96×64", "image-to-video", "video/mp4", "guidance scale"):
        assert text in shown
    assert elsewhere.run("jobs", "watch", job_id).stdout == f"{job_id} succeeded\n"
    assert [job["id"] for job in json.loads(elsewhere.run("jobs", "list", "--json").stdout)] == [job_id]

    again = json.loads(elsewhere.run("jobs", "retry", job_id, "--json").stdout)
    assert (again["request"]["seed"], again["request"]["prompt"]) == (5, "a boat")
    assert elsewhere.run("jobs", "watch", again["id"]).returncode == 0
    assert elsewhere.run("jobs", "delete", job_id).returncode == 0
    assert f"There is no job '{job_id}'" in elsewhere.run("jobs", "show", job_id).stderr

    # Others don't see it; the operator on the server's own machine does.
    hidden = elsewhere.run("jobs", "show", again["id"], key=BOB)
    assert (hidden.returncode, "There is no job" in hidden.stderr) == (1, True)
    assert "alice" in elsewhere.server.run("jobs", "list").stdout
    owned = elsewhere.server.run("jobs", "show", again["id"]).stdout
    assert "framegate" in owned
    assert elsewhere.server.run("jobs", "retry", again["id"]).returncode == 0


def test_an_image_through_pipes(elsewhere: Elsewhere) -> None:
    size = ("--width", "64", "--height", "64")
    made = elsewhere.run("generate", "-", "-o", "-", "--task", "text-to-image", *size, stdin=b"a boat\n")
    assert made.returncode == 0, made.stderr
    assert made.output.startswith(b"\x89PNG")
    assert "64×64" in made.stderr


def test_what_the_server_offers(elsewhere: Elsewhere) -> None:
    remote = elsewhere.run("models")
    assert remote.returncode == 0, remote.stderr
    assert max(map(len, remote.stdout.splitlines())) <= 80
    assert "sora2pro-hd-portrait-15s" in remote.stdout
    listed = json.loads(elsewhere.run("models", "--json").stdout)
    assert {"preview", "sora-2"} <= {model["name"] for model in listed}
    assert elsewhere.run("characters", "list").stdout == "No characters.\n"
    assert "There is no character" in elsewhere.run("characters", "delete", "@nobody").stderr


def test_what_the_server_refuses(elsewhere: Elsewhere) -> None:
    wrong = elsewhere.run("jobs", "list", key="wrong")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("Error: ")
    assert "key" in wrong.stderr
    assert wrong.stderr.count("\n") == 1
    unknown = elsewhere.run("generate", "a boat", "--model", "previev")
    assert "Did you mean preview?" in unknown.stderr
    several = elsewhere.run("generate", "a boat", "--fps", "99999", "--steps", "99999")
    assert "fps" in several.stderr
    assert "num_inference_steps" in several.stderr
    assert several.stderr.count("\n") == 1


def test_the_commands_of_the_page(elsewhere: Elsewhere) -> None:
    page = Path(__file__).parents[2] / "docs" / "cli.md"
    first, pipes = [block.text for block in code_blocks(page) if block.language == "sh"][:2]
    gradient_png(elsewhere.folder / "photo.png").rename(elsewhere.folder / "photo.jpg")
    address, key, *commands = first.splitlines()
    assert (address.partition("=")[0], key.partition("=")[0]) == (
        "export FRAMEGATE_URL",
        "export FRAMEGATE_KEY",
    )
    for command in commands:
        program, *arguments = shlex.split(command)
        done = elsewhere.run(*arguments)
        assert (program, done.returncode) == ("framegate", 0), done.stderr
    script = elsewhere.folder / "framegate"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m framegate.cli "$@"\n')
    script.chmod(0o700)
    environ = elsewhere.environ(ALICE)
    environ["PATH"] = f"{script.parent}{os.pathsep}{environ['PATH']}"
    bash = ["bash", "-eo", "pipefail", "-c", pipes]
    subprocess.run(bash, cwd=elsewhere.folder, env=environ, check=True, timeout=120)
    for name, frames in (("cup.mp4", None), ("pour.mp4", 9)):
        with av.open(elsewhere.folder / name) as video:
            assert frames in (None, video.streams.video[0].frames)
