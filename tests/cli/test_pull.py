"""``framegate models pull`` from a hub on loopback."""

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from huggingface_hub import constants

from framegate.cli.hub.blobs import BlobFetcher
from tests.support.hub import TOKEN, FakeHub, FakeRepository, running_hub
from tests.support.in_process import Done, run_command
from tests.support.running import COMMAND, clean_environ, eventually

WEIGHTS = os.urandom(300_000)
FILES = {
    "model_index.json": json.dumps(
        {
            "_class_name": "WanPipeline",
            "transformer": ["diffusers", "WanTransformer3DModel"],
            "tokenizer": ["transformers", "T5TokenizerFast"],
            "image_encoder": [None, None],
        }
    ).encode(),
    "README.md": b"# A model",
    "transformer/config.json": b"{}",
    "transformer/diffusion_pytorch_model.safetensors": WEIGHTS,
    "transformer/diffusion_pytorch_model.bin": b"pickle",
    "tokenizer/tokenizer.json": b"{}" * 3000,
}
LORA = {"loras/fast.safetensors": os.urandom(9000), "loras/other.safetensors": os.urandom(9000)}
PULLED = ["model_index.json", *(name for name in FILES if "/" in name and not name.endswith(".bin"))]
CONFIG = """
[models.film]
backend = "wan21-t2v"
source = "authors/film"
options = { loras = [{ source = "authors/lora", weight_name = "loras/fast.safetensors" }] }
[models.pinned]
backend = "wan21-t2v"
source = "authors/film"
options = { revision = "gone" }
[models.wrong]
backend = "wan21-t2v"
source = "authors/nothing"
[models.weightless]
backend = "wan21-t2v"
source = "authors/lora"
"""


class Host:
    """A host that pulls from a hub, with a cache of its own.

    huggingface_hub reads the variables once for each process, so this sets what it has made of them.
    """

    def __init__(self, hub: FakeHub, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.hub = hub
        self.patch = patch
        self.cache = folder / "home" / "hub"
        self._folder = folder
        (folder / "framegate.toml").write_text(CONFIG)
        self.environ = clean_environ({"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "home")})
        self.environ.pop("HF_TOKEN", None)
        patch.setattr(constants, "HF_HUB_CACHE", str(self.cache))
        self.use(hub.url)

    def use(self, url: str) -> None:
        """Take the hub at that URL."""
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        self.patch.setattr(constants, "ENDPOINT", url)
        self.patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Pull in a process of its own."""
        command = [*COMMAND, "models", "pull", *arguments, "--data-dir", str(self._folder / "data")]
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environ, cwd=self._folder
        )

    def run(self, *arguments: str) -> Done:
        where = ("--data-dir", str(self._folder / "data"))
        return run_command(["models", "pull", *arguments, *where], environ=self.environ, cwd=self._folder)

    def pull(self, *arguments: str) -> list[dict[str, Any]]:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return done.stderr

    def served(self) -> list[tuple[str, int]]:
        """Return the large files that were sent since the last call, and from which byte on."""
        found = [each for each in self.hub.served if each[0].endswith("safetensors")]
        self.hub.served.clear()
        return found


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with running_hub() as hub:
        hub.repositories = {"authors/film": FakeRepository(FILES), "authors/lora": FakeRepository(LORA)}
        yield Host(hub, tmp_path, monkeypatch)


def files_below(folder: str) -> dict[str, bytes]:
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_what_a_model_needs_is_pulled_once(host: Host) -> None:
    source, lora = host.pull("film")
    assert files_below(source["folder"]) == {name: FILES[name] for name in PULLED}
    assert (source["model"], source["setting"], source["repository"]) == ("film", "source", "authors/film")
    assert (source["files"], source["bytes"]) == (len(PULLED), sum(len(FILES[name]) for name in PULLED))
    assert files_below(lora["folder"]) == {"loras/fast.safetensors": LORA["loras/fast.safetensors"]}
    assert (lora["setting"], lora["downloaded_bytes"]) == ("loras[0]", 9000)
    assert len(host.served()) == 2
    assert [each["downloaded_bytes"] for each in host.pull("film", "film")] == [0, 0]
    assert host.served() == []


def test_a_killed_pull_is_continued(host: Host) -> None:
    host.hub.repositories["authors/film"].stall_after = {
        "transformer/diffusion_pytorch_model.safetensors": 200_000
    }
    process = host.start("film")
    assert host.hub.stalled.wait(60)
    [partial] = eventually(
        lambda: [path for path in host.cache.rglob("*.incomplete") if path.stat().st_size >= 131_072],
        what="the beginning",
    )
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    there = partial.stat().st_size
    host.served()
    source, _ = host.pull("film")
    assert source["downloaded_bytes"] >= len(WEIGHTS) - there
    assert ("authors/film/transformer/diffusion_pytorch_model.safetensors", there) in host.served()
    assert files_below(source["folder"])["transformer/diffusion_pytorch_model.safetensors"] == WEIGHTS
    assert not list(host.cache.rglob("*.incomplete"))


def test_a_broken_connection_is_taken_up_again(host: Host) -> None:
    name = "transformer/diffusion_pytorch_model.safetensors"
    host.hub.repositories["authors/film"].break_after = {name: 100_000}
    source, _ = host.pull("film")
    assert files_below(source["folder"])[name] == WEIGHTS
    first, second = (each for each in host.served() if each[0].endswith(name))
    assert (first[1], 0 < second[1] <= 100_000) == (0, True)


def test_damaged_files_are_downloaded_again(host: Host) -> None:
    """On the way, or later in the cache. What stays damaged is refused, and never left there as whole."""
    name = "loras/fast.safetensors"
    repository = host.hub.repositories["authors/lora"]
    repository.corrupt = {name: 1}
    _, lora = host.pull("film")
    assert files_below(lora["folder"])[name] == LORA[name]
    blob = (Path(lora["folder"]) / name).resolve()
    for damaged in (LORA[name][:-1] + bytes([LORA[name][-1] ^ 1]), LORA[name][:5000]):
        blob.write_bytes(damaged)
        _, lora = host.pull("film")
        assert files_below(lora["folder"])[name] == LORA[name]
        assert lora["downloaded_bytes"] == 9000
    blob.write_bytes(b"x" * 9000)
    repository.corrupt = {name: 2}
    assert f"{name} arrived damaged twice" in host.refused("film")
    assert not blob.exists()


def test_a_pull_that_waits_for_another_can_be_stopped(host: Host) -> None:
    """Another pull, or a worker, holds the lock of a file while it downloads that."""
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    lock = host.cache / ".locks" / "models--authors--film" / f"{digest}.lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        process = host.start("film")
        eventually(lambda: len(host.hub.served) >= 1, what="the index")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) != 0


def test_what_is_pushed_meanwhile_is_not_mixed_in(host: Host) -> None:
    """All files are of the commit that the hub named at first, which is what the branch then stands for."""
    repository = host.hub.repositories["authors/film"]
    first = repository.commit
    name = "transformer/diffusion_pytorch_model.safetensors"

    def push(blob: BlobFetcher, *_: object) -> int:
        repository.push({**FILES, name: os.urandom(300_000)})
        fetched: int = fetch(blob, *_)
        return fetched

    fetch: Any = BlobFetcher.fetch
    host.patch.setattr(BlobFetcher, "fetch", push)
    source, _ = host.pull("film")
    assert (source["commit"], Path(source["folder"]).name) == (first, first)
    assert files_below(source["folder"])[name] == WEIGHTS
    assert (host.cache / "models--authors--film" / "refs" / "main").read_text() == first


@pytest.mark.parametrize("index", [b"[1]", b"{broken", b'{"_ignore_files": 5}', b"\xff\xfe"])
def test_an_index_that_makes_no_sense(host: Host, index: bytes) -> None:
    host.hub.repositories["authors/film"] = FakeRepository({**FILES, "model_index.json": index})
    assert "source: authors/film: its model_index.json is damaged." in host.refused("film")


@pytest.mark.parametrize(
    "name", ["tokenizer/../../../../evil.txt", "tokenizer/\x1b[31m.txt", "tokenizer/a\\b"]
)
def test_strange_names_of_files(host: Host, name: str) -> None:
    host.hub.repositories["authors/film"] = FakeRepository({**FILES, name: b"evil"})
    assert f"source: authors/film has a file with the strange name {name!r}." in host.refused("film")


def test_private_and_gated_repositories_need_a_token(host: Host) -> None:
    host.hub.repositories["authors/film"].private = True
    assert "no such repository, or it is private and HF_TOKEN" in host.refused("film")
    host.hub.repositories["authors/film"].private = False
    host.hub.repositories["authors/lora"].gated = True
    assert (
        f"loras[0]: authors/lora is gated: accept its terms at {host.hub.url}/authors/lora"
        in host.refused("film")
    )
    host.environ["HF_TOKEN"] = TOKEN
    assert len(host.pull("film")) == 2


def test_what_can_not_be_pulled_is_said_in_a_sentence(host: Host) -> None:
    assert "authors/film has no revision 'gone'." in host.refused("pinned")
    assert "authors/nothing: the hub has no such repository" in host.refused("wrong")
    assert "authors/lora: it has no model_index.json" in host.refused("weightless")
    assert "There is no model 'fil'. Did you mean film" in host.refused("fil")
    assert host.pull("preview") == []
    assert host.run("preview").stdout == "preview: there is nothing to pull; it has no source.\n"
    host.use("http://127.0.0.1:9")
    assert "The hub at http://127.0.0.1:9 can't be reached" in host.refused("film")


def test_a_full_disk_is_noticed_before(host: Host) -> None:
    huge = FakeRepository(FILES)
    host.hub.repositories["authors/film"] = huge
    huge.claimed_sizes = {"transformer/diffusion_pytorch_model.safetensors": 10**18}
    assert "1,000,000,000.0 GB are to be downloaded" in host.refused("film")
    assert host.served() == []


@pytest.mark.parametrize("is_absolute", [True, False])
def test_a_hub_can_not_name_files_of_this_host(host: Host, tmp_path: Path, is_absolute: bool) -> None:
    """What it calls a SHA-256 becomes the name of a file in the cache."""
    name = "transformer/diffusion_pytorch_model.safetensors"
    target = tmp_path / "precious.txt"
    target.write_text("mine")
    digest = str(target) if is_absolute else "../../../../precious.txt"
    host.hub.repositories["authors/film"].claimed_digests = {name: digest}
    assert f"the SHA-256 {digest!r} for {name!r}, which no file has." in host.refused("film")
    assert sorted(path.name for path in tmp_path.glob("precious*")) == ["precious.txt"]
    host.hub.repositories["authors/film"].claimed_digests = {}
    host.hub.repositories["authors/film"].claimed_sizes = {name: -1}
    assert "the hub names -1 bytes" in host.refused("film")


def test_no_more_is_written_than_was_announced(host: Host) -> None:
    """The disk has room for that alone."""
    name = "transformer/diffusion_pytorch_model.safetensors"
    host.hub.repositories["authors/film"].claimed_sizes = {name: 1000}
    written: list[int] = []
    unlink = Path.unlink

    def note(path: Path, *, missing_ok: bool = False) -> None:
        if path.stem == hashlib.sha256(WEIGHTS).hexdigest():
            written.append(path.stat().st_size)
        unlink(path, missing_ok=missing_ok)

    host.patch.setattr(Path, "unlink", note)
    assert f"{name} arrived damaged twice" in host.refused("film")
    assert written == [1000, 1000]
