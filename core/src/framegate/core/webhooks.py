"""Who is told of a video's end, as the service asks for it."""

from typing import Protocol

from framegate.core.errors import InvalidRequest


class WebhookPolicy(Protocol):
    def addresses(self, requested: str) -> tuple[str, ...]:
        """The URLs that are told of a video's end: the one that the request names, if any, and the
        operator's own.

        Raises:
            InvalidRequest: events can't go to the ``requested`` one; with what is wrong with it.
        """
        ...


class NoWebhooks:
    """The `WebhookPolicy` of a server that can't sign events, and so sends none."""

    def addresses(self, requested: str) -> tuple[str, ...]:
        if requested:
            raise InvalidRequest(
                "This server sends no webhooks: its operator has configured no secret to sign them with "
                "(`[webhooks] secret`). Leave webhook_url out.",
                param="webhook_url",
            )
        return ()
