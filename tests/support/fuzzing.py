"""Requests that Hypothesis generates: how hard tests push with them, and what every answer must be."""

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

bounded = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
"""The same few requests in every run, however slow the machine is."""


def assert_openai_answers(operation: Any) -> None:
    """Send any requests to an operation: none fails the server, and every error has OpenAI's body."""

    @bounded
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        answer = case.call(timeout=10)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            body = answer.json()
            assert body.keys() == {"error"}, body
            assert body["error"].keys() == {"message", "type", "param", "code"}, body

    send()
