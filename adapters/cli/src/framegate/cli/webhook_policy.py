"""The rules for the URLs that events are sent to."""

from collections.abc import Sequence
from ipaddress import ip_address

from yarl import URL

from framegate.core.config_errors import ErrorCollector
from framegate.core.errors import ConfigError, InvalidRequest
from framegate.core.settings import Settings
from framegate.core.webhooks import WebhookPolicy
from framegate.media.network.addresses import HOST_NAME, REFUSALS, REMEDY, DialPolicy
from framegate.media.network.urls import InvalidUrl, UrlHasCredentials, parse_url, shown_url

MAX_URL = 2000


class SignedWebhooks:
    """Send events to the operator's URL, and to URLs that requests name.

    ``url`` is the operator's ("" for none), ``allowed_hosts`` are those that requests may name (all if it is
    empty), and ``dial`` decides on addresses. A host name's address is checked when it is dialled.
    """

    def __init__(self, url: str, *, allowed_hosts: Sequence[str], dial: DialPolicy) -> None:
        self._own = (str(_checked(url)),) if url else ()
        self._hosts = frozenset(map(_normalized, allowed_hosts))
        self._dial = dial

    def addresses(self, requested: str) -> tuple[str, ...]:
        """Return the URLs that a job's events go to; ``requested`` is its request's own ("" for none).

        Raises:
            InvalidRequest: Events are not sent to ``requested``.
        """
        if not requested:
            return self._own
        try:
            url = _checked(requested)
            self._check_host(url)
        except ValueError as error:
            raise InvalidRequest(f"webhook_url: {error}", param="webhook_url") from None
        return tuple(dict.fromkeys((str(url), *self._own)))

    def _check_host(self, url: URL) -> None:
        host = _normalized(url.raw_host or "")
        if self._hosts and host not in self._hosts:
            allowed = ", ".join(sorted(self._hosts))
            raise ValueError(f"events are not sent to the host {host}, only to {allowed}.")
        try:
            ip_address(host)
        except ValueError:
            return  # a name, which may lead elsewhere each time it is looked up
        if refusal := self._dial.refusal(host, host, url.port or 0):
            raise ValueError(f"{shown_url(str(url))} leads to {REFUSALS[refusal]}. {REMEDY}")


def make_policy(settings: Settings) -> WebhookPolicy:
    """Return the policy that ``[webhooks]`` describes.

    Raises:
        ConfigError: The URL or a host is not valid, or there is no secret to sign events with.
    """
    webhooks = settings.webhooks
    if not webhooks.secrets:
        raise ConfigError(
            "events are signed, so this needs webhooks.secret too: the environment variable that holds it, "
            'as in secret = { env = "WEBHOOK_SECRET" }.',
            key=("webhooks", "url"),
        )
    found = ErrorCollector()
    for index, host in enumerate(webhooks.allowed_hosts):
        if not _is_host(_normalized(host)):
            found.add(
                f"{host!r} is neither a host name such as 'hooks.example.com' nor an address (without "
                "scheme, port or path).",
                *("webhooks", "allowed_hosts", index),
            )
    found.raise_errors()
    dial = DialPolicy(settings.fetch.allow)
    try:
        return SignedWebhooks(webhooks.url, allowed_hosts=webhooks.allowed_hosts, dial=dial)
    except ValueError as error:
        raise ConfigError(str(error), key=("webhooks", "url")) from None


def _checked(text: str) -> URL:
    """Return the URL as it will be requested.

    Raises:
        ValueError: It is not such a URL; the message says why.
    """
    shown = shown_url(text)
    if len(text) > MAX_URL:
        raise ValueError(f"the URL has {len(text):,} characters; at most {MAX_URL:,} are accepted.")
    try:
        return parse_url(text)
    except UrlHasCredentials as error:
        raise ValueError(f"{shown!r} {error}; events are signed instead.") from None
    except InvalidUrl as error:
        raise ValueError(f"{shown!r} {error}.") from None


def _is_host(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return HOST_NAME.fullmatch(name) is not None
    return True


def _normalized(host: str) -> str:
    return host.lower().rstrip(".")
