"""The distributions as users install them, from wheels: each brings what its job needs, and nothing else."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framegate.storage.embedded import EmbeddedValkey
from tests.support.environments import REPOSITORY, Environment, projects
from tests.support.running import RunningServer, clean_environ, eventually

HEAVY = {"torch", "torchao", "diffusers", "transformers", "accelerate", "peft", "cache-dit"}
HTTP = {"litestar", "uvicorn", "starlette", "framegate-server"}
WORKER = {"dramatiq", "framegate-worker"}


@pytest.fixture(scope="module")
def core(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """What the author of a backend plugin begins with: framegate-core alone."""
    environment = Environment(tmp_path_factory.mktemp("core") / "venv")
    environment.install("framegate-core", wheels=wheels)
    return environment


@pytest.fixture(scope="module")
def worker(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("worker") / "venv")
    environment.install("framegate-worker", "framegate-wan22", wheels=wheels)
    return environment


@pytest.fixture(scope="module")
def server(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("server") / "venv")
    environment.install("framegate-server", "framegate-preview", wheels=wheels)
    return environment


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(tmp_path / "queue")
    valkey.start()
    yield valkey
    valkey.stop()


def test_core_alone_imports_whole_and_stays_light(core: Environment) -> None:
    core.python(
        "import importlib, pkgutil, sys, framegate.core as core\n"
        "for module in pkgutil.walk_packages(core.__path__, 'framegate.core.'):\n"
        "    importlib.import_module(module.name)\n"
        "heavy = {'litestar', 'dramatiq', 'redis', 'numpy', 'torch', 'av', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from framegate.core.plugins import discover\n"
        "assert discover().models == {}\n"
    )


def test_every_wheel_ships_its_types(worker: Environment, server: Environment) -> None:
    program = (
        "from importlib.resources import files\n"
        "for name in {names}:\n"
        "    assert (files('framegate.' + name) / 'py.typed').is_file(), name\n"
    )
    shared = ["core", "media", "storage", "cli"]
    worker.python(program.format(names=[*shared, "worker", "plugins.wan22", "plugins.diffusers"]))
    server.python(program.format(names=[*shared, "server", "plugins.preview"]))


def test_a_worker_needs_no_http_server(worker: Environment, valkey: EmbeddedValkey, tmp_path: Path) -> None:
    assert worker.distributions().isdisjoint(HTTP)
    config = tmp_path / "framegate.toml"
    config.write_text(f'[queue]\nurl = "{valkey.url}"\n[models.wan22]\nsource = "{tmp_path}"\n')
    log = tmp_path / "worker.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*worker.framegate, "worker", "--data-dir", tmp_path / "data", "--config", config],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=clean_environ(),
        )

    def started() -> bool:
        assert process.poll() is None, log.read_text()
        return "worker_started" in log.read_text()

    try:
        eventually(started, seconds=60, what="the worker's start")
    finally:
        process.terminate()
        assert process.wait(30) == 0
    (line,) = (json.loads(line) for line in log.read_text().splitlines() if "worker_started" in line)
    assert line["models"] == ["wan22"]


def test_a_worker_without_a_configured_model_says_what_to_configure(
    worker: Environment, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    config = tmp_path / "framegate.toml"
    config.write_text(f'[queue]\nurl = "{valkey.url}"\n')
    done = _run(worker, "worker", data_dir=tmp_path / "data", config=config)
    assert done.returncode == 1
    assert "wan22, wan22-i2v, wan22-t2v can be, once the config says where the weights are" in done.stderr


def test_a_worker_alone_says_what_serve_needs(worker: Environment, tmp_path: Path) -> None:
    done = _run(worker, "serve", data_dir=tmp_path / "data")
    assert (done.returncode, done.stderr) == (
        1,
        "Error: `framegate serve` needs the package framegate-server, which is not installed.\n",
    )


def test_a_server_needs_neither_worker_nor_torch(
    server: Environment, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    assert server.distributions().isdisjoint(HEAVY | WORKER)
    running = RunningServer(
        tmp_path / "data",
        config=f'[queue]\nurl = "{valkey.url}"\n',
        arguments=["--no-worker"],
        command=server.framegate,
    )
    running.wait_until_ready("/health")
    assert running.stop() == 0, running.log_text()


def test_a_server_alone_says_that_it_has_no_worker(server: Environment, tmp_path: Path) -> None:
    done = _run(server, "serve", data_dir=tmp_path / "data")
    assert done.returncode == 1
    assert "framegate-worker is not installed here: install it, or start with --no-worker" in done.stderr


def test_the_images_install_what_their_process_needs() -> None:
    """The API's image has no torch and no worker, the worker's no HTTP server and nothing for faces."""
    api, worker = (_installed_in(f"{name}.Dockerfile") for name in ("api", "worker"))
    assert "adapters/server" in api
    assert not {project for project in api if "worker" in project or "torch" in project or "small" in project}
    assert "adapters/worker" in worker
    assert worker.isdisjoint({"adapters/server", "adapters/media[faces]"})
    assert {f"plugins/{name}[torch]" for name in ("diffusers", "wan21", "wan22", "ltx2")} <= worker
    assert "plugins/diffusers[small]" in worker, "what GGUF files and quantising need"


def test_the_workers_image_can_compile() -> None:
    """Triton builds its launchers with a C compiler and Python's headers, inductor its wrappers in C++."""
    text = (REPOSITORY / "docker" / "worker.Dockerfile").read_text()
    [packages] = re.findall(r"apt-get install -y --no-install-recommends (.+?) \\\n", text)
    assert {"gcc", "g++", "python3-dev"} <= set(packages.split())


def _installed_in(dockerfile: str) -> set[str]:
    """Return the distributions that an image installs, by folder, with their extras."""
    text = (REPOSITORY / "docker" / dockerfile).read_text()
    return set(re.findall(r"\./([\w/]+(?:\[[\w,]+\])?)", text))


def test_make_dist_builds_every_distribution(wheels: Path) -> None:
    described = [tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in projects()]
    names = [f"{each['name'].replace('-', '_')}-{each['version']}-py3-none-any.whl" for each in described]
    assert sorted(path.name for path in wheels.iterdir()) == sorted(names)


def test_faces_are_an_extra(server: Environment) -> None:
    assert "opencv-python-headless" not in server.distributions()


def test_models_come_and_go_with_their_plugin_and_say_what_they_need(
    server: Environment, wheels: Path, tmp_path: Path
) -> None:
    data, config = tmp_path / "data", tmp_path / "wan22.toml"
    server.install("framegate", wheels=wheels)
    try:
        assert "wan22" not in _plugins(server, data)
        server.install("framegate-wan22", wheels=wheels)
        listed = _plugins(server, data)["wan22"]
        assert listed["models"] == ["wan22", "wan22-i2v", "wan22-t2v"]
        assert "torch" in listed["missing"]
        assert "pip install 'framegate-wan22[torch]'" in listed["missing"]
        printed = _run(server, "plugins", data_dir=data).stdout
        assert "workers here lack" in " ".join(printed.split()), "a table for people says it too"

        # What needs no torch runs; what needs it fails and says why.
        config.write_text(f'[models.wan22]\nsource = "{tmp_path}"\n')
        small = ("--width", "64", "--height", "64", "--num-frames", "5", "-o", str(tmp_path / "out.mp4"))
        made = _run(server, "generate", "a boat", *small, data_dir=data, config=config)
        assert made.returncode == 0, made.stderr
        failed = _run(server, "generate", "a boat", "--model", "wan22", *small, data_dir=data, config=config)
        assert failed.returncode == 1
        assert "This worker lacks" in failed.stderr
        assert "pip install 'framegate-wan22[torch]'" in failed.stderr
        assert "Traceback" not in failed.stderr

        server.pip("uninstall", "--yes", "framegate-wan22")
        gone = _run(server, "models", data_dir=data, config=config)
        assert gone.returncode == 1
        assert "no installed plugin has a backend 'wan22'" in gone.stderr, "the config still names it"
        assert "wan22" not in _plugins(server, data)
    finally:
        added = ("framegate", "framegate-worker", "framegate-wan22", "framegate-diffusers", "dramatiq")
        server.pip("uninstall", "--yes", *added)


def _plugins(environment: Environment, data_dir: Path) -> dict[str, dict[str, Any]]:
    listed = json.loads(_run(environment, "plugins", "--json", data_dir=data_dir).stdout)
    return {plugin["name"]: plugin for plugin in listed}


def _run(
    environment: Environment, *arguments: str, data_dir: Path, config: Path | None = None
) -> subprocess.CompletedProcess[str]:
    where = ("--data-dir", data_dir, *(("--config", config) if config else ()))
    return subprocess.run(
        [*environment.framegate, *arguments, *where],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environ(),
        cwd=data_dir.parent,
    )
