"""What the official OpenAI SDK raises and reads."""

import hashlib
from typing import Any

import openai
import pytest
from openai import OpenAI

from framegate.core import availability
from tests.support.http_stand import Stand, StandMaker
from tests.support.running import eventually


def sdk(stand: Stand, key: str) -> OpenAI:
    return OpenAI(base_url=f"{stand.url}/v1", api_key=key, max_retries=0, timeout=10)


def create(client: OpenAI, model: str = "ltx2_landscape") -> Any:
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "a boat"}], stream=True
    )


def raised(error: openai.APIStatusError) -> tuple[int, str | None, str | None, str | None]:
    assert error.message
    return error.status_code, error.type, error.param, error.code


def test_exceptions(make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "MAX_AGE_SECONDS", 0.0)
    digest = hashlib.sha256(b"alice").hexdigest()
    stand = make_stand(auth={"keys": [{"name": "alice", "sha256": digest, "max_active": 1}]})
    with sdk(stand, "bob") as bob, pytest.raises(openai.AuthenticationError) as wrong_key:
        create(bob)
    assert raised(wrong_key.value) == (401, "authentication_error", None, "invalid_api_key")
    with sdk(stand, "alice") as alice:
        refused_in_many_ways(stand, alice)


def refused_in_many_ways(stand: Stand, alice: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as no_model:
        create(alice, "none")
    assert raised(no_model.value) == (404, "invalid_request_error", "model", "model_not_found")
    with pytest.raises(openai.PermissionDeniedError) as no_plan:
        create(alice, "sora2pro-landscape-10s")
    assert raised(no_plan.value) == (403, "server_error", None, None)
    with create(alice):
        with pytest.raises(openai.RateLimitError) as too_many:
            create(alice)
        assert raised(too_many.value) == (429, "rate_limit_error", None, "rate_limit_exceeded")
        assert int(too_many.value.response.headers["Retry-After"]) > 0
    # The server notices the closed stream a moment later, and gives the key its place back only then.
    eventually(lambda: stand.jobs()[-1].state.finished, what="the abandoned job's end")
    stand.store.living.clear()
    with pytest.raises(openai.InternalServerError) as no_worker:
        create(alice)
    assert raised(no_worker.value) == (503, "server_error", None, None)


@pytest.mark.parametrize("model", ["ltx2_landscape", "sora2-landscape-10s"])
def test_the_usage_of_a_stream(stand: Stand, model: str) -> None:
    with stand.working(), sdk(stand, "x") as client:
        stream = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "a boat"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        *chunks, last = stream
    assert [len(chunk.choices) for chunk in chunks] == [1] * len(chunks)
    assert all(chunk.usage is None for chunk in chunks)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.to_dict() == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert len({chunk.id for chunk in (*chunks, last)}) == 1


def test_an_error_within_a_stream(stand: Stand) -> None:
    with (
        stand.working(failing="The lamp broke."),
        sdk(stand, "x") as client,
        pytest.raises(openai.APIError, match=r"The lamp broke\."),
        create(client) as stream,
    ):
        for _ in stream:
            pass
