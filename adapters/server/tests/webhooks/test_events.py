"""Events and their signatures, checked by OpenAI's SDK."""

import base64
import json
import time
from collections.abc import Mapping, Sequence

import openai
import pytest

from framegate.core.errors import ConfigError
from framegate.core.jobs import JobState
from framegate.core.options import EnvSecret
from framegate.server.webhooks.events import Signer, event_body
from framegate.storage.webhook_deliveries import Delivery, Standing
from tests.support.receiving import OLD_SECRET, SECRET


def delivery(outcome: JobState = JobState.SUCCEEDED, job_id: str = "video_1") -> Delivery:
    return Delivery(
        id="evt_1:1",
        event="evt_1",
        outcome=outcome,
        job_id=job_id,
        created_at=1_700_000_000,
        url="https://hooks.example/",
        receiver="@hooks.example:443",
        attempt=1,
        claimed_at=1_700_000_001.5,
        standing=Standing.NEW,
        failures=0,
    )


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW", SECRET)
    monkeypatch.setenv("OLD", OLD_SECRET)


def signed(body: bytes, at: float, variables: Sequence[str] = ("NEW",)) -> Mapping[str, str]:
    return Signer([EnvSecret(name) for name in variables]).headers("evt_1", int(at), body)


def sdk(secret: str = SECRET) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", webhook_secret=secret)


@pytest.mark.parametrize(
    ("outcome", "kind"), [(JobState.SUCCEEDED, "video.completed"), (JobState.FAILED, "video.failed")]
)
def test_the_sdk_unwraps_events(outcome: JobState, kind: str) -> None:
    body = event_body(delivery(outcome))
    event = sdk().webhooks.unwrap(body, dict(signed(body, time.time())))
    assert event.to_dict() == {
        "id": "evt_1",
        "object": "event",
        "type": kind,
        "created_at": 1_700_000_000,
        "data": {"id": "video_1"},
    }


def test_one_replayed_after_300_s_is_refused() -> None:
    body = event_body(delivery())
    now = time.time()
    sdk().webhooks.verify_signature(body, dict(signed(body, now - 298)))
    with pytest.raises(openai.InvalidWebhookSignatureError, match="too old"):
        sdk().webhooks.unwrap(body, dict(signed(body, now - 301)))


def test_a_changed_body_is_refused() -> None:
    body = event_body(delivery())
    headers = dict(signed(body, time.time()))
    for changed in (body.replace(b"video_1", b"video_2"), body + b" "):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            sdk().webhooks.unwrap(changed, headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        sdk().webhooks.unwrap(body, {**headers, "webhook-id": "evt_2"})


def test_while_secrets_change_either_verifies() -> None:
    body = event_body(delivery())
    headers = dict(signed(body, time.time(), ["NEW", "OLD"]))
    for secret in (SECRET, OLD_SECRET):
        sdk(secret).webhooks.verify_signature(body, headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        sdk("whsec_" + base64.b64encode(bytes(32)).decode()).webhooks.verify_signature(body, headers)


def test_bodies_are_small_whatever_the_job_is_called() -> None:
    body = event_body(delivery(job_id="ü\u2028" * 1000))
    assert len(body) < 20_000
    assert json.loads(body)["data"]["id"] == "ü\u2028" * 1000


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "is not set"),
        ("", "is not set"),
        ("hunter2", "does not hold whsec_"),
        (SECRET.removeprefix("whsec_"), "does not hold whsec_"),
        ("whsec_", "24 to 64 bytes"),
        ("whsec_aHVudGVyMg==", "24 to 64 bytes"),
        ("whsec_" + "hunter2 " * 5, "24 to 64 bytes"),
        ("whsec_hünter2", "24 to 64 bytes"),
        ("whsec_" + base64.b64encode(bytes(65)).decode(), "24 to 64 bytes"),
    ],
)
def test_other_secrets_are_refused_and_not_shown(
    value: str | None, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is None:
        monkeypatch.delenv("NEW")
    else:
        monkeypatch.setenv("NEW", value)
    with pytest.raises(ConfigError, match=complaint) as refused:
        Signer([EnvSecret("NEW")])
    assert "variable NEW" in refused.value.message
    assert "nter2" not in refused.value.message
