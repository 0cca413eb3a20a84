"""Webhook receivers that never answer, on two API servers with several keys."""

from collections.abc import Callable

import openai
import pytest

from tests.support.receiving import SECRET, StartReceiver, silent_receivers, start_receiver
from tests.support.running import RunningServer, eventually

__all__ = ["start_receiver"]

StartServer = Callable[..., RunningServer]

# The SDK calls its videos deprecated, because of the hosted service's end.
# pyright: reportDeprecated=false
pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")

OWNERS = ("alice", "mallory", "trudy")
DEAD_OF_EACH = 8
TIMEOUT = 100
CONFIG = f"""
[queue]
url = "{{queue_url}}"

[fetch]
allow = ["127.0.0.0/8"]

[webhooks]
secret = {{{{ env = "WEBHOOK_SECRET" }}}}
timeout = "{TIMEOUT}s"

[aliases.small]
model = "sora-2"
defaults = {{{{ width = 64, height = 64, num_frames = 8 }}}}
""" + "".join(
    f'\n[[auth.keys]]\nname = "{owner}"\nkey = {{{{ env = "{owner.upper()}_KEY" }}}}\n' for owner in OWNERS
)
ENVIRON = {
    "WEBHOOK_SECRET": SECRET,
    **{f"{owner.upper()}_KEY": f"a-long-key-of-{owner}" for owner in OWNERS},
}


def create(server: RunningServer, owner: str, webhook_url: str) -> str:
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key=ENVIRON[f"{owner.upper()}_KEY"], max_retries=0
    ) as client:
        return client.videos.create(
            prompt="a boat", model="small", extra_body={"webhook_url": webhook_url}
        ).id


def test_a_living_receiver_is_notified_while_attempts_at_dead_ones_last(
    start_server: StartServer, start_receiver: StartReceiver, queue_url: str
) -> None:
    """It belongs to an owner of dead ones, and has not been notified of anything before."""
    config = CONFIG.format(queue_url=queue_url)
    first = start_server("first", config=config, environ=ENVIRON)
    beside = ["--no-worker", "--data-dir", str(first.data_dir)]
    servers = [first, start_server("second", config=config, environ=ENVIRON, arguments=beside)]
    living = start_receiver()
    with silent_receivers(DEAD_OF_EACH * len(OWNERS)) as dead:
        for number, receiver in enumerate(dead):
            owner = OWNERS[number % len(OWNERS)]
            for path in ("/a", "/b", "/c"):
                create(servers[number % 2], owner, receiver.url + path)
        # Those of one do not keep the others waiting either.
        eventually(
            lambda: all(each.connections for each in dead), seconds=TIMEOUT / 2, what="an attempt at each"
        )
        video = create(servers[0], "alice", living.url)
        received = eventually(lambda: living.received[0] if living.received else None, what="the event")
        assert [each.connections for each in dead] == [1] * len(dead)
    event = received.unwrapped().to_dict()
    assert event["data"] == {"id": video}
    assert received.at - float(str(event["created_at"])) < TIMEOUT / 10
    failed = [line for server in servers for line in server.log_lines() if line["event"] == "webhook_failed"]
    assert video not in {line["job_id"] for line in failed}
