"""Webhooks of a running server: what a user gets who configures or asks for them."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from tests.support.code_blocks import code_blocks
from tests.support.decoding import decoded
from tests.support.listing import files_below
from tests.support.receiving import SECRET, Received, Receiver, StartReceiver, answering
from tests.support.running import PATIENCE, RunningServer, eventually
from tests.support.tasks import submit

StartServer = Callable[..., RunningServer]

# The SDK calls its videos deprecated, because of the hosted service's end.
# pyright: reportDeprecated=false
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
ENVIRON = {"WEBHOOK_SECRET": SECRET}
CONFIG = """
[fetch]
allow = ["127.0.0.0/8"]
user_agent = "Acme/1.0 (ops@acme.example)"

[webhooks]
secret = {{ env = "WEBHOOK_SECRET" }}
timeout = "10s"
url = "{url}"

[aliases.small]
model = "sora-2"
defaults = {{ width = 64, height = 64, num_frames = 8 }}

[aliases.long]
model = "sora-2"
defaults = {{ width = 640, height = 480, num_inference_steps = 1000 }}
"""


def config(url: str = "") -> str:
    return CONFIG.format(url=url)


def sdk(server: RunningServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def create(server: RunningServer, webhook_url: str = "", model: str = "small", **extra: Any) -> str:
    """A video by the dialect `openai-videos`; its id."""
    body = {"webhook_url": webhook_url, **extra} if webhook_url else extra
    with sdk(server) as client:
        return client.videos.create(prompt="a boat", model=model, extra_body=body).id


def status(server: RunningServer, video_id: str) -> str:
    with sdk(server) as client:
        return client.videos.retrieve(video_id).status


def told(receiver: Receiver, since: int = 0) -> dict[str, set[str]]:
    """The ids of jobs that the receiver was told of, by the event's type; every event verified."""
    events: dict[str, set[str]] = {}
    for received in receiver.received[since:]:
        event = received.unwrapped().to_dict()
        assert event["id"] == received.id
        events.setdefault(str(event["type"]), set()).add(dict(event["data"])["id"])  # type: ignore[call-overload]  # `to_dict` says object
    return events


def lines(server: RunningServer, event: str) -> list[dict[str, Any]]:
    return [line for line in server.log_lines() if line["event"] == event]


@pytest.fixture(scope="module")
def operators() -> Iterator[Receiver]:
    """The operator's receiver, which is notified of each job of `served`."""
    receiver = Receiver()
    yield receiver
    receiver.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, operators: Receiver) -> Iterator[RunningServer]:
    """A server for the tests that leave it as it was, but for jobs that have ended."""
    running = RunningServer(
        tmp_path_factory.mktemp("webhooks") / "data",
        config=config(f"{operators.url}/ops?token=hidden"),
        environ=ENVIRON,
    )
    yield running.wait_until_ready()
    assert running.stop() == 0, running.log_text()


def test_per_request_and_per_config(
    served: RunningServer, operators: Receiver, start_receiver: StartReceiver
) -> None:
    theirs, before = start_receiver(), len(operators.received)
    delivered = len(lines(served, "webhook_delivered"))
    asked = create(served, f"{theirs.url}/mine")
    plain = submit(served, "a boat")
    eventually(lambda: len(operators.received) >= before + 2 and theirs.received, what="the events")
    assert told(operators, before) == {"video.completed": {asked, plain}}
    assert told(theirs) == {"video.completed": {asked}}
    assert [received.path for received in theirs.received] == ["/mine"]
    assert theirs.received[0].headers["user-agent"] == "Acme/1.0 (ops@acme.example)"
    assert status(served, asked) == "completed"
    eventually(lambda: len(lines(served, "webhook_delivered")) == delivered + 3, what="the log")
    assert "hidden" not in served.log_text()


def test_the_program_of_the_page(served: RunningServer, start_receiver: StartReceiver) -> None:
    """It reads the event and fetches the video."""
    receiver = start_receiver()
    video_id = create(served, receiver.url)
    received = eventually(lambda: receiver.received[0] if receiver.received else None, what="the event")
    [program] = (block for block in code_blocks(PAGE) if block.language == "python")
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", webhook_secret=SECRET) as client:
        names: dict[str, Any] = {"client": client, "body": received.body, "headers": dict(received.headers)}
        exec(program.text, names)
        assert names["event"].data.id == video_id
        assert decoded(names["content"].read())[:3] == (64, 64, 8)


def test_a_delivered_event_replayed_after_300_s_is_refused(
    served: RunningServer, start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = start_receiver()
    create(served, receiver.url)
    received = eventually(lambda: receiver.received[0] if receiver.received else None, what="the event")
    received.unwrapped()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 302)
    with pytest.raises(openai.InvalidWebhookSignatureError, match="too old"):
        received.unwrapped()


def test_a_receiver_that_is_down_gets_each_event_once_it_is_back(
    start_server: StartServer, start_receiver: StartReceiver
) -> None:
    """Down, then answering 500, then back; worker and server are killed meanwhile."""
    receiver = start_receiver()
    receiver.stop()
    server = start_server(config=config(receiver.url), environ=ENVIRON)
    tasks = {submit(server, "a boat") for _ in range(4)}
    tasks.add(create(server, model="long", num_frames=200, num_inference_steps=20))
    [worker] = server.worker_pids()
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: len(lines(server, "webhook_failed")) >= 4, what="failing attempts")
    failed = {line["webhook_id"] for line in lines(server, "webhook_failed")}
    server.kill()
    receiver.respond = answering(500)
    receiver.start()
    server.restart()
    eventually(lambda: receiver.received, what="an attempt that gets a 500")
    taken: list[str] = []

    def take(received: Received) -> int:
        taken.append(received.id)
        return 200

    receiver.respond = take
    eventually(lambda: told(receiver).get("video.completed") == tasks, what="every event")
    eventually(lambda: len(lines(server, "webhook_delivered")) >= 5, what="the log")
    ids = {received.id for received in receiver.received}
    assert failed <= ids, "the same ids as before"
    assert len(ids) == len(tasks)
    assert set(Counter(taken).values()) == {1}, "once each"


def test_a_server_killed_in_the_middle_of_an_attempt(
    start_server: StartServer, start_receiver: StartReceiver
) -> None:
    killed = threading.Event()

    def hang_at_first(_: Received) -> int:
        if len(receiver.received) == 1:
            killed.wait(PATIENCE)
        return 200

    receiver = start_receiver(hang_at_first)
    server = start_server(config=config(receiver.url), environ=ENVIRON)
    task = submit(server, "a boat")
    eventually(lambda: receiver.received, what="the first attempt")
    server.kill()
    killed.set()
    server.restart()
    eventually(lambda: lines(server, "webhook_delivered"), what="the second attempt")
    first, second = receiver.received
    assert first.id == second.id
    assert told(receiver) == {"video.completed": {task}}


def test_failed_cancelled_and_deleted_jobs(served: RunningServer, operators: Receiver, photo: Path) -> None:
    before = len(operators.received)
    running = create(served, model="long", num_frames=400)
    with sdk(served) as client:
        failing = client.videos.create(prompt="a boat", model="small", input_reference=photo).id
    cancelled = submit(served, "a boat")
    requests.delete(f"{served.url}/v1/tasks/{cancelled}", timeout=60)
    for image in files_below(served.data_dir / "files" / "inputs"):
        image.unlink()
    with sdk(served) as client:
        client.videos.delete(running)
    eventually(lambda: len(operators.received) > before, what="the event")
    after = submit(served, "a boat")
    eventually(lambda: len(operators.received) >= before + 2, what="the event of the next job")
    assert told(operators, before) == {"video.failed": {failing}, "video.completed": {after}}
    assert status(served, failing) == "failed"


def test_two_servers_deliver_once(start_server: StartServer, start_receiver: StartReceiver) -> None:
    receiver = start_receiver()
    first = start_server("first", config=config(receiver.url), environ=ENVIRON)
    socket = first.data_dir / "valkey" / "valkey.sock"
    shared = config(receiver.url) + f'\n[queue]\nurl = "unix://{socket}"\n'
    beside = ["--no-worker", "--data-dir", str(first.data_dir)]
    second = start_server("second", config=shared, environ=ENVIRON, arguments=beside)
    tasks = {submit(server, "a boat") for server in (first, second) for _ in range(8)}
    eventually(lambda: told(receiver).get("video.completed") == tasks, what="every event")
    delivered = eventually(
        lambda: (
            found
            if len(found := lines(first, "webhook_delivered") + lines(second, "webhook_delivered")) >= 16
            else None
        ),
        what="the logs",
    )
    assert len(receiver.received) == len(delivered) == 16
    assert second.stop() == 0


def test_valkey_killed_while_a_receiver_is_down(
    start_server: StartServer, start_receiver: StartReceiver
) -> None:
    receiver = start_receiver(lambda _: 503)
    server = start_server(config=config(receiver.url), environ=ENVIRON)
    tasks = {submit(server, "a boat") for _ in range(3)}
    eventually(lambda: len({received.id for received in receiver.received}) == 3, what="three attempts")
    os.kill(server.pid_of("valkey_started"), signal.SIGKILL)
    receiver.respond = answering(200)
    eventually(lambda: len(lines(server, "webhook_delivered")) == 3, what="every event")
    assert told(receiver) == {"video.completed": tasks}
    assert len({received.id for received in receiver.received}) == 3


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://10.0.0.1/", "not public"),
        ("http://169.254.169.254/", "not public"),
        ("ftp://127.0.0.1/", "not an http(s) URL"),
    ],
)
def test_urls_that_a_request_may_not_name(served: RunningServer, url: str, complaint: str) -> None:
    before = jobs(served)
    with pytest.raises(openai.BadRequestError) as refused:
        create(served, url)
    assert refused.value.param == "webhook_url"
    assert complaint in refused.value.message
    assert jobs(served) == before


def jobs(server: RunningServer) -> list[str]:
    return [job["id"] for job in server.json("jobs", "list")]


def test_a_name_of_a_private_address_is_told_nothing(
    start_server: StartServer, start_receiver: StartReceiver
) -> None:
    """Names are looked up when they are dialled; this one leads to loopback, which nobody opened."""
    receiver = start_receiver()
    closed = config().replace('allow = ["127.0.0.0/8"]', "")
    server = start_server(config=closed, environ=ENVIRON)
    create(server, f"http://localhost:{receiver.port}/")
    [line, *_] = eventually(lambda: lines(server, "webhook_failed"), what="an attempt")
    assert line["reason"] == "it leads to an address that is not public"
    assert receiver.received == []


def test_without_a_secret(server: RunningServer) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        create(server, "https://hooks.example/", model="sora-2")
    assert refused.value.param == "webhook_url"
    assert "no secret" in refused.value.message


@pytest.mark.parametrize(
    ("text", "environ", "complaint"),
    [
        ('[webhooks]\nurl = "https://a.example/"', {}, "needs webhooks.secret too"),
        (config(), {}, "variable WEBHOOK_SECRET is not set"),
        (config(), {"WEBHOOK_SECRET": "whsec_hunter2"}, "does not hold whsec_"),
        (config("ops.example"), ENVIRON, "webhooks.url: 'ops.example' is not an http(s) URL"),
    ],
)
def test_a_config_that_can_sign_nothing(
    start_server: StartServer, text: str, environ: dict[str, str], complaint: str
) -> None:
    server = start_server(ready=None, config=text, environ=environ)
    assert server.process.wait(PATIENCE) != 0
    assert complaint in server.log_text()
    assert "hunter2" not in server.log_text()
    assert "Traceback" not in server.log_text()
