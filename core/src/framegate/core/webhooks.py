"""Where the events of a job may be sent."""

from typing import Protocol

from framegate.core.errors import InvalidRequest


class WebhookPolicy(Protocol):
    """Decide which URLs are notified when a video ends."""

    def addresses(self, requested: str) -> tuple[str, ...]:
        """Return the URLs to notify: the operator's own, and the one that the request names, if any.

        Raises:
            InvalidRequest: Events can't be sent to the ``requested`` URL.
        """
        ...


class NoWebhooks:
    """The `WebhookPolicy` of a server that can't sign events, and so sends none."""

    def addresses(self, requested: str) -> tuple[str, ...]:
        """Return none.

        Raises:
            InvalidRequest: The request names a URL.
        """
        if requested:
            raise InvalidRequest(
                "This server sends no webhooks: its operator has configured no secret to sign them with "
                "(`[webhooks] secret`). Leave webhook_url out.",
                param="webhook_url",
            )
        return ()
