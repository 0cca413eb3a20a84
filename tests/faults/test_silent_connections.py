"""The way to Valkey is gone without a word: no FIN, no reset, nothing arrives any more."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from tests.support.external_valkey import ExternalValkey
from tests.support.running import RunningServer, eventually, running_worker
from tests.support.silent_relay import silent_relay
from tests.support.trouble import trouble_environ

StartServer = Callable[..., RunningServer]
NOTICED = 15.0
"""Seconds from the end of a job until a caller who waits for it has the answer."""


def test_a_caller_who_waits_gets_the_result(
    start_server: StartServer, valkey: ExternalValkey, tmp_path: Path
) -> None:
    plugin = tmp_path / "plugin"
    config = '[queue]\nurl = "{}"\n[presets]\nlightx2v = {{ video = "trouble" }}\n'
    direct = tmp_path / "direct.toml"
    direct.write_text(config.format(valkey.url))
    with silent_relay(valkey.url) as relay, ThreadPoolExecutor() as pool:
        server = start_server(
            config=config.format(relay.url),
            environ=trouble_environ(plugin),
            arguments=["--no-worker"],
            ready="/health",
        )
        with running_worker(server.data_dir, "--config", direct, environ=server.environ):
            server.wait_until_ready()
            body = {"model": "trouble", "prompt": "until the-way-is-gone", "async_mode": False}
            waiting = pool.submit(requests.post, f"{server.url}/v1/videos/generate", json=body, timeout=120)
            eventually(lambda: _states(server) == ["running"], what="the job's start")
            relay.silence()
            (plugin / "the-way-is-gone").touch()
            eventually(lambda: _states(server) == ["succeeded"], what="the job's end")
            ended = time.monotonic()
            answer = waiting.result()
            assert time.monotonic() - ended < NOTICED
            assert answer.status_code == 200, answer.text
            assert requests.get(f"{server.url}/ready", timeout=60).ok


def _states(server: RunningServer) -> list[str]:
    return [job["state"] for job in server.json("jobs", "list")]
