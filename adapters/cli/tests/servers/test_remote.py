"""Commands on a server elsewhere: what they send to it, and what they say of its answers."""

import json
import re
import signal
import ssl
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from framegate.cli.servers import http, remote
from tests.support.in_process import Done, run_command
from tests.support.ports import free_port
from tests.support.running import COMMAND, clean_environ, eventually
from tests.support.scripted_api import Asked, Reply, ScriptedApi, scripted_api

KEY = "fg_key-of-alice"
VIDEO = bytes(range(256)) * 40
JOB: dict[str, Any] = {
    "id": "j1",
    "state": "queued",
    "progress": 0.0,
    "message": "",
    "position": 2,
    "eta_seconds": 40.0,
    "model": "fast",
    "served_by": "wan22",
    "task": "text-to-video",
    "request": {"prompt": "a boat", "width": 832, "height": 480, "seed": 7, "num_inference_steps": 30},
    "changes": [{"field": "height", "asked": 481, "used": 480, "why": "the model takes multiples of 16"}],
    "results": [],
    "error": None,
    "created_at": "2026-01-02T03:04:05Z",
    "metadata": {"project": "boats"},
    "a_later_field": [1],
}
RUNNING = {**JOB, "state": "running", "progress": 0.5, "position": None, "eta_seconds": None}
RESULT = {
    "url": "https://elsewhere.example/api/v1/jobs/j1/results/0",
    "kind": "video",
    "content_type": "video/mp4",
    "size": len(VIDEO),
    "width": 832,
    "height": 480,
    "num_frames": 81,
    "fps": 16.0,
    "duration": 5.0625,
}
DONE = {**RUNNING, "state": "succeeded", "progress": 1.0, "results": [RESULT]}
NO_FRAMEGATE = "doesn't answer like a Framegate server; check the URL.\n"
FAILED = {**RUNNING, "state": "failed", "error": {"code": "out_of_memory", "message": "Too large."}}
MADE: dict[str, Reply | list[Reply]] = {
    "POST /api/v1/jobs": Reply.of(JOB, 202),
    "GET /api/v1/jobs/j1/events": Reply.events(JOB, RUNNING, DONE),
    "GET /api/v1/jobs/j1/results/0": Reply(200, VIDEO, {"ETag": '"v1"', "Content-Type": "video/mp4"}),
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(_: float) -> None:
        pass

    monkeypatch.setattr(http, "sleep", sleep)
    monkeypatch.setattr(remote, "_RECONNECT_PAUSE", 0.0)


def run(*arguments: str, folder: Path, environ: Mapping[str, str] | None = None, stdin: bytes = b"") -> Done:
    return run_command(arguments, environ=clean_environ(environ), cwd=folder, stdin=stdin)


@contextmanager
def serving(replies: Mapping[str, Reply | list[Reply]]) -> Generator[tuple[ScriptedApi, dict[str, str]]]:
    with scripted_api(replies) as api:
        yield api, {"FRAMEGATE_URL": api.url, "FRAMEGATE_KEY": KEY}


def parts(asked: Asked) -> dict[str, bytes]:
    """The parts of a multipart body by name."""
    boundary = asked.headers["content-type"].partition("boundary=")[2].encode()
    found: dict[str, bytes] = {}
    for part in asked.body.split(b"--" + boundary)[1:-1]:
        head, _, body = part.partition(b"\r\n\r\n")
        [name] = re.findall(rb'[; ]name="([^"]*)"', head)
        found[name.decode()] = body.removesuffix(b"\r\n")
    return found


def test_generate_sends_what_was_asked_and_saves_the_result(tmp_path: Path) -> None:
    with serving(MADE) as (api, environ):
        size = ("--width", "832", "--height", "481", "--steps", "30", "--seed", "7", "--duration", "5")
        done = run(
            "generate", "a boat", "--model", "fast", *size, "-o", "boat.mp4", folder=tmp_path, environ=environ
        )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "boat.mp4").read_bytes() == VIDEO
    assert [path.name for path in tmp_path.iterdir()] == ["boat.mp4"]
    assert done.stdout == "boat.mp4 (832×480, 5.06 s, seed 7)\n"
    assert "832×481 → 832×480: the model takes multiples of 16" in done.stderr
    assert "100%" in done.stderr
    submitted = api.asked[0]
    assert json.loads(submitted.body) == {
        "model": "fast",
        "task": "text-to-video",
        "prompt": "a boat",
        "width": 832,
        "height": 481,
        "duration": 5.0,
        "num_inference_steps": 30,
        "seed": 7,
    }
    assert len(submitted.headers["idempotency-key"]) == 32
    assert {asked.headers["authorization"] for asked in api.asked} == {f"Bearer {KEY}"}


def test_files_are_sent_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(VIDEO)
    with serving(MADE) as (api, environ):
        done = run(
            "generate",
            "-",
            "--image",
            "in.png",
            folder=tmp_path,
            stdin="eine Möwe\n".encode(),
            environ=environ,
        )
        assert done.returncode == 0, done.stderr
        assert parts(api.asked[0]) == {
            "prompt": "eine Möwe".encode(),
            "task": b"image-to-video",
            "image": VIDEO,
        }
        api.asked.clear()
        done = run("generate", "a boat", "--image", "-", folder=tmp_path, stdin=VIDEO, environ=environ)
        assert done.returncode == 0, done.stderr
        assert parts(api.asked[0])["image"] == VIDEO
        api.asked.clear()
        done = run(
            "generate", "a boat", "--image", "https://example.com/a.png", folder=tmp_path, environ=environ
        )
        assert json.loads(api.asked[0].body)["image"] == "https://example.com/a.png"


def test_a_result_on_standard_output(tmp_path: Path) -> None:
    with serving(MADE) as (_, environ):
        done = run("generate", "a boat", "-o", "-", folder=tmp_path, environ=environ)
        assert (done.returncode, done.output) == (0, VIDEO)
        assert "- (832×480, 5.06 s, seed 7)" in done.stderr
        done = run("generate", "a boat", "-o", "-", "--json", folder=tmp_path, environ=environ)
    assert done.output == VIDEO
    report = json.loads(done.stderr)
    assert (report["job_id"], report["output"], report["seed"]) == ("j1", "-", 7)
    assert report["artifacts"] == [RESULT]
    assert report["changes"] == JOB["changes"]
    assert list(tmp_path.iterdir()) == []


def test_a_lost_connection_costs_only_the_rest(tmp_path: Path) -> None:
    whole = {"ETag": '"v1"'}
    rest = {**whole, "Content-Range": f"bytes 4000-{len(VIDEO) - 1}/{len(VIDEO)}"}
    replies = {
        **MADE,
        "GET /api/v1/jobs/j1/events": [Reply.events(JOB), Reply.events(RUNNING), Reply.events(DONE)],
        "GET /api/v1/jobs/j1/results/0": [Reply(200, VIDEO, whole, cut=4000), Reply(206, VIDEO[4000:], rest)],
    }
    with serving(replies) as (api, environ):
        done = run("generate", "a boat", folder=tmp_path, environ=environ)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mp4").read_bytes() == VIDEO
    assert [asked.path for asked in api.asked].count("/api/v1/jobs/j1/events") == 3
    assert api.asked[-1].headers["range"] == "bytes=4000-"
    assert api.asked[-1].headers["if-range"] == '"v1"'


@pytest.mark.parametrize("output", ["out.mp4", "-"])
def test_a_result_that_has_changed_is_fetched_from_its_start(tmp_path: Path, output: str) -> None:
    replies = {
        **MADE,
        "GET /api/v1/jobs/j1/results/0": [
            Reply(200, VIDEO, {"ETag": '"v1"'}, cut=4000),
            Reply(200, b"other" * 9, {"ETag": '"v2"'}),
        ],
    }
    with serving(replies) as (_, environ):
        done = run("generate", "a boat", "-o", output, folder=tmp_path, environ=environ)
    if output == "-":
        assert done.returncode == 1
        assert "a pipe can't be written again" in done.stderr
    else:
        assert (tmp_path / "out.mp4").read_bytes() == b"other" * 9


def test_another_part_than_asked_for_is_refused(tmp_path: Path) -> None:
    wrong = {"ETag": '"v1"', "Content-Range": f"bytes 0-{len(VIDEO) - 1}/{len(VIDEO)}"}
    replies = {
        **MADE,
        "GET /api/v1/jobs/j1/results/0": [
            Reply(200, VIDEO, {"ETag": '"v1"'}, cut=10),
            Reply(206, VIDEO, wrong),
        ],
    }
    with serving(replies) as (_, environ):
        done = run("generate", "a boat", folder=tmp_path, environ=environ)
    assert done.returncode == 1
    assert "another part" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_key_goes_to_no_other_host(tmp_path: Path) -> None:
    with scripted_api({"GET /bucket/v.mp4": Reply(200, VIDEO)}) as bucket:
        place = bucket.url.replace("127.0.0.1", "localhost") + "/bucket/v.mp4"
        moved = {**MADE, "GET /api/v1/jobs/j1/results/0": Reply(307, b"", {"Location": place})}
        with serving(moved) as (_, environ):
            done = run("generate", "a boat", folder=tmp_path, environ=environ)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out.mp4").read_bytes() == VIDEO
        [asked] = bucket.asked
        assert "authorization" not in asked.headers
        # What isn't a download is followed nowhere.
        elsewhere = Reply(308, b"", {"Location": f"{bucket.url}/api/v1/jobs"})
        with serving({"GET /api/v1/jobs": elsewhere, "POST /api/v1/jobs": elsewhere}) as (_, environ):
            for command in (("jobs", "list"), ("generate", "a boat")):
                done = run(*command, folder=tmp_path, environ=environ)
                assert done.returncode == 1
                assert f"redirects to {bucket.url}: give" in done.stderr
        assert len(bucket.asked) == 1


def test_a_busy_server_is_asked_again_when_it_says(tmp_path: Path) -> None:
    full = Reply.of({"detail": "The queue is full."}, 429, retry_after="3")
    restarting = Reply.of({"detail": "No worker is there."}, 503, retry_after="2")
    with serving({**MADE, "POST /api/v1/jobs": [full, restarting, Reply.of(JOB, 202)]}) as (api, environ):
        done = run("generate", "a boat", folder=tmp_path, environ=environ)
    assert done.returncode == 0, done.stderr
    assert "The queue is full. Trying again in 3 s." in done.stderr
    assert "No worker is there. Trying again in 2 s." in done.stderr
    submitted = [asked for asked in api.asked if asked.method == "POST"]
    assert len(submitted) == 3
    assert len({asked.headers["idempotency-key"] for asked in submitted}) == 1


@pytest.mark.parametrize(("wait", "times"), [("3600", 1), ("1", 5), ("Fri, 01 Jan 2100 01:00:00 GMT", 1)])
def test_a_server_that_stays_busy(tmp_path: Path, wait: str, times: int) -> None:
    quota = Reply.of({"detail": "The day's GPU seconds are used up."}, 429, retry_after=wait)
    with serving({"POST /api/v1/jobs": quota}) as (api, environ):
        done = run("generate", "a boat", folder=tmp_path, environ=environ)
    assert done.returncode == 1
    assert done.stderr.endswith("Error: The day's GPU seconds are used up.\n")
    assert len(api.asked) == times


def test_ctrl_c_cancels_the_job(tmp_path: Path) -> None:
    replies: dict[str, Reply | list[Reply]] = {
        **MADE,
        "GET /api/v1/jobs/j1/events": Reply.events(RUNNING),
        "POST /api/v1/jobs/j1/cancel": Reply.of({**JOB, "state": "cancelled"}),
    }
    with serving(replies) as (api, environ):
        process = subprocess.Popen(
            [*COMMAND, "generate", "a boat"],
            env=clean_environ(environ),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        eventually(
            lambda: [asked for asked in api.asked if asked.path.endswith("/events")], what="the stream"
        )
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert api.asked[-1].path == "/api/v1/jobs/j1/cancel"
    assert list(tmp_path.iterdir()) == []


def test_jobs(tmp_path: Path) -> None:
    pages = [Reply.of({"items": [RUNNING], "next": "c2"}), Reply.of({"items": [DONE], "next": None})]
    replies: dict[str, Reply | list[Reply]] = {
        "GET /api/v1/jobs": pages,
        "GET /api/v1/jobs/j1": Reply.of(RUNNING),
        "GET /api/v1/jobs/j1/events": Reply.events(
            RUNNING,
            FAILED,
        ),
        "POST /api/v1/jobs/j1/cancel": Reply.of({**JOB, "state": "cancelled"}),
        "POST /api/v1/jobs/j1/retry": Reply.of({**JOB, "id": "j2"}, 202),
        "DELETE /api/v1/jobs/j1": Reply(204),
    }
    with serving(replies) as (api, environ):

        def ask(*arguments: str) -> Done:
            return run("jobs", *arguments, folder=tmp_path, environ=environ)

        listed = json.loads(
            ask("list", "--state", "running", "--state", "succeeded", "--limit", "150", "--json").stdout
        )
        assert listed == [RUNNING, DONE]
        assert [asked.path.partition("?")[2] for asked in api.asked] == [
            "state=running&state=succeeded&limit=100",
            "state=running&state=succeeded&limit=100&after=c2",
        ]
        shown = ask("show", "j1").stdout
        for text in (
            "wan22",
            "832×480",
            "832×481 → 832×480",
            "steps",
            "30",
            "a boat",
            "project",
            "boats",
            "2026-01-0",
        ):
            assert text in shown
        assert json.loads(ask("show", "j1", "--json").stdout) == RUNNING
        watched = ask("watch", "j1", "--json")
        assert [json.loads(line)["state"] for line in watched.stdout.splitlines()] == ["running", "failed"]
        assert watched.returncode == 1
        assert ask("watch", "j1").stdout == "j1 failed: Too large.\n"
        assert ask("cancel", "j1").stdout == "j1 is cancelled.\n"
        assert ask("retry", "j1").stdout == "j2 is queued: j1 again.\n"
        assert ask("delete", "j1").stdout == "j1 is deleted.\n"


def test_an_id_stays_within_its_part_of_the_path(tmp_path: Path) -> None:
    with serving({}) as (api, environ):
        for hostile in ("../../admin", "a?b=c", "a#b", "%2e%2e", "ü", "a b"):
            assert run("jobs", "show", hostile, folder=tmp_path, environ=environ).returncode == 1
        assert run("jobs", "show", "..", folder=tmp_path, environ=environ).returncode == 1
    assert [asked.path for asked in api.asked] == [
        f"/api/v1/jobs/{text}"
        for text in ("..%2F..%2Fadmin", "a%3Fb%3Dc", "a%23b", "%252e%252e", "%C3%BC", "a%20b")
    ]


def test_characters(tmp_path: Path) -> None:
    row = {"name": "ann_123", "display_name": "Ann", "created_at": "2026-01-02T03:04:05Z"}
    replies = {"GET /api/v1/characters": Reply.of([row]), "DELETE /api/v1/characters/ann_123": Reply(204)}
    with serving(replies) as (_, environ):
        assert json.loads(run("characters", "list", "--json", folder=tmp_path, environ=environ).stdout) == [
            row
        ]
        assert "Ann" in run("characters", "show", "@ann_123", folder=tmp_path, environ=environ).stdout
        unknown = run("characters", "show", "bob", folder=tmp_path, environ=environ)
        assert "There is no character @bob" in unknown.stderr
        assert run("characters", "delete", "@ann_123", folder=tmp_path, environ=environ).returncode == 0


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            Reply.of(
                {
                    "detail": "Two values are wrong.",
                    "errors": [
                        {"field": "width", "message": "too large"},
                        {"field": "seed", "message": "negative"},
                    ],
                },
                422,
            ),
            "Error: Two values are wrong. width: too large seed: negative\n",
        ),
        (
            Reply.of({"title": "Unauthorized", "detail": "The API key is wrong."}, 401),
            "Error: The API key is wrong.\n",
        ),
        (Reply.of({"detail": "a\nError: forged\x1b[2J"}, 400), "Error: a Error: forged\\x1b[2J\n"),
        (
            Reply(200, b"<html>hi</html>", {"Content-Type": "text/html"}),
            NO_FRAMEGATE,
        ),
        (
            Reply(404, b"<html>", {"Content-Type": "text/html; a=b"}),
            "(status 404, text/html); check the URL.\n",
        ),
        (
            Reply(500, b"\xff\xfe", {"Content-Type": "application/json"}),
            "(status 500, application/json); check the URL.\n",
        ),
        (Reply.of([1, 2]), NO_FRAMEGATE),
        (Reply.of({"items": [{"id": "x"}]}), NO_FRAMEGATE),
        (
            Reply.of({"items": [{**JOB, "created_at": "yesterday"}]}),
            NO_FRAMEGATE,
        ),
        (Reply(302, b"", {"Location": "/login"}), "/login, which is no Framegate server; check the URL.\n"),
        (Reply(302, b"", {"Location": "http://[bad"}), ".\n"),
    ],
)
def test_refusals_are_the_servers_own_sentences(tmp_path: Path, reply: Reply, words: str) -> None:
    with serving({"GET /api/v1/jobs": reply}) as (_, environ):
        done = run("jobs", "list", folder=tmp_path, environ=environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(words)
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert KEY not in done.stderr


def test_a_missing_key_is_explained(tmp_path: Path) -> None:
    with serving({"GET /api/v1/jobs": Reply.of({"detail": "An API key is needed."}, 401)}) as (api, _):
        done = run("jobs", "list", "--url", api.url, folder=tmp_path)
    assert done.stderr == "Error: An API key is needed. Set the variable FRAMEGATE_KEY, or give --key.\n"
    assert "authorization" not in api.asked[0].headers


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8000", "write https://"),
        ("ftp://host", "write https://"),
        ("https://", "write https://"),
        ("http://[::1", "not a URL"),
        ("http://host:99999", "no port 99999"),
        ("https://a:b@host", "leave out user"),
        ("https://host/?a=b", "leave out"),
        ("http://127.0.0.1:{free}", "can't be reached: "),
        ("http://no-such-host.invalid", "can't be reached: "),
    ],
)
def test_urls_that_lead_nowhere(tmp_path: Path, url: str, words: str) -> None:
    done = run("jobs", "list", "--url", url.format(free=free_port()), folder=tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("key", ["a b", "ü", "a\nX-Injected: 1", "\x7f"])
def test_keys_that_are_none(tmp_path: Path, key: str) -> None:
    done = run("jobs", "list", "--url", "http://127.0.0.1:1", "--key", key, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "Error: --key: the key has a character that no key has, such as a space.\n"


def test_local_options_go_over_the_variable_and_exclude_the_option(tmp_path: Path) -> None:
    with serving({"GET /api/v1/jobs": Reply.of({"items": []})}) as (api, environ):
        here = ("--data-dir", str(tmp_path / "data"))
        assert run("jobs", "list", folder=tmp_path, environ=environ).stdout == "No jobs.\n"
        assert (
            "No framegate server runs" in run("jobs", "list", *here, folder=tmp_path, environ=environ).stderr
        )
        both = run("jobs", "list", "--url", api.url, *here, folder=tmp_path)
        assert (both.returncode, "leave out --config" in both.stderr) == (2, True)
        alone = run("jobs", "list", "--key", KEY, folder=tmp_path)
        assert (alone.returncode, "--url" in alone.stderr) == (2, True)
    assert len(api.asked) == 1


@pytest.mark.parametrize("end", ["", "/", "/films", "/films/", "/films/api/v1", "/films/api/v1/"])
def test_a_prefix(tmp_path: Path, end: str) -> None:
    path = f"{end.rstrip('/').removesuffix('/api/v1')}/api/v1/jobs"
    with serving({f"GET {path}": Reply.of({"items": []})}) as (api, _):
        assert run("jobs", "list", "--url", f"{api.url}{end}", folder=tmp_path).stdout == "No jobs.\n"


def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    with scripted_api({"GET /api/v1/jobs": Reply.of({"items": []})}, tls=context) as api:
        done = run("jobs", "list", "--url", api.url, folder=tmp_path)
        assert done.returncode == 1
        assert "isn't trusted" in done.stderr
        assert "SSL_CERT_FILE" in done.stderr
        done = run("jobs", "list", "--url", api.url, folder=tmp_path, environ={"SSL_CERT_FILE": str(trusted)})
        assert done.stdout == "No jobs.\n"
        other = api.url.replace("127.0.0.1", "localhost")
        done = run("jobs", "list", "--url", other, folder=tmp_path, environ={"SSL_CERT_FILE": str(trusted)})
        assert "isn't trusted: Hostname mismatch" in done.stderr
        missing = run(
            "jobs", "list", "--url", api.url, folder=tmp_path, environ={"SSL_CERT_FILE": "/missing.pem"}
        )
        assert missing.returncode == 1
        assert "Traceback" not in missing.stderr
        plain = run("jobs", "list", "--url", api.url.replace("https", "http"), folder=tmp_path)
        assert plain.returncode == 1
    with serving({}) as (api, _):
        done = run("jobs", "list", "--url", api.url.replace("http", "https"), folder=tmp_path)
        assert "TLS failed" in done.stderr


def test_a_proxy_that_needs_what_is_not_installed(tmp_path: Path) -> None:
    environ = {"ALL_PROXY": "socks5://127.0.0.1:1"}
    done = run("jobs", "list", "--url", "http://127.0.0.1:1", folder=tmp_path, environ=environ)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The environment variables of TLS or a proxy can't be used: ")
    assert "socks" in done.stderr


@pytest.mark.parametrize("option", ["--fps", "--duration", "--guidance-scale"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_number_that_is_none(tmp_path: Path, option: str, value: str) -> None:
    done = run("generate", "a boat", option, value, "--url", "http://127.0.0.1:1", folder=tmp_path)
    assert done.returncode == 2
    assert f"{value} is not a finite number." in done.stderr
