"""Which URLs a request may name, and what the config may say."""

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from framegate.cli.app_context import create_context
from framegate.cli.config_file import load_settings
from framegate.cli.webhook_policy import SignedWebhooks
from framegate.core.errors import ConfigError, InvalidRequest
from framegate.core.webhooks import NoWebhooks
from framegate.media.network.addresses import DialPolicy

OWN = "https://ops.example/videos"


def policy(url: str = "", allowed: Sequence[str] = (), allow: Sequence[str] = ()) -> SignedWebhooks:
    return SignedWebhooks(url, allowed_hosts=allowed, dial=DialPolicy(allow))


def refused(url: str, allowed: Sequence[str] = ()) -> str:
    with pytest.raises(InvalidRequest) as error:
        policy(allowed=allowed).addresses(url)
    assert error.value.param == "webhook_url"
    return error.value.message


def test_who_is_told() -> None:
    assert policy().addresses("") == ()
    assert policy(OWN).addresses("") == (OWN,)
    assert policy(OWN).addresses("https://a.example/x?token=1") == ("https://a.example/x?token=1", OWN)
    assert policy(OWN).addresses(OWN) == (OWN,), "nobody is notified twice"
    assert policy().addresses("  HTTPS://A.Example/x#top\n") == ("https://a.example/x",)


def test_only_allowed_hosts() -> None:
    hosts = ["hooks.example", "B.example."]
    both = policy(OWN, hosts)
    assert both.addresses("https://hooks.example:8443/") == ("https://hooks.example:8443/", OWN)
    assert both.addresses("http://b.EXAMPLE/") == ("http://b.example/", OWN)
    message = refused("https://evil.example/", hosts)
    assert "evil.example, only to b.example, hooks.example" in message
    for trick in (
        "https://hooks.example.evil.example/",
        "https://evil.example/hooks.example",
        "https://evil.example#hooks.example",
        "https://evil.example?hooks.example",
        "https://evil.example\\@hooks.example/",
        "https://hooks.example\\@evil.example/",
    ):
        refused(trick, hosts)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("hooks.example", "not an http"),
        ("ftp://hooks.example/", "not an http"),
        ("file:///etc/passwd", "not an http"),
        ("javascript:alert(1)", "not an http"),
        ("http://", "not a"),
        ("http://[::1", "not a valid"),
        ("http://a.example:0/", "not an http"),
        ("http://a.example:99999/", "not a valid"),
        ("https://user:secret@a.example/", "user name or password"),
        ("https://a.example/" + "x" * 2000, "2,018 characters; at most 2,000"),
        ("http://127.0.0.1/", "not public"),
        ("http://[::1]/", "not public"),
        ("http://[::ffff:10.0.0.1]/", "not public"),
        ("http://169.254.169.254/latest/meta-data/", "not public"),
        ("http://8.8.8.8:6379/", "port other than 80 and 443"),
    ],
)
def test_urls_that_lead_nowhere_are_named(url: str, complaint: str) -> None:
    message = refused(url)
    assert message.startswith("webhook_url: ")
    assert complaint in message
    assert "secret" not in message


def test_what_fetching_may_reach_webhooks_may() -> None:
    open_one = policy(allow=["10.0.0.0/8"])
    assert open_one.addresses("http://10.1.2.3:9000/") == ("http://10.1.2.3:9000/",)


@given(st.text() | st.from_regex(r"https?://[\w.@:\\\[\]#?/%-]{1,40}"))
def test_whatever_is_named_goes_to_an_allowed_host_or_is_refused(text: str) -> None:
    addresses: tuple[str, ...] = ()
    with suppress(InvalidRequest):
        addresses = policy(allowed=["hooks.example"]).addresses(text)
    assert all(URL(url).host == "hooks.example" for url in addresses)


def test_without_a_secret_nothing_is_sent() -> None:
    webhooks = create_context(load_settings(environ={})).webhooks
    assert isinstance(webhooks, NoWebhooks)
    assert webhooks.addresses("") == ()
    with pytest.raises(InvalidRequest, match=r"no secret.*`\[webhooks\] secret`") as error:
        webhooks.addresses("https://a.example/")
    assert error.value.param == "webhook_url"


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"url": OWN}, r"webhooks\.url: events are signed, so this needs webhooks\.secret"),
        ({"url": "ops.example", "secret": {"env": "A"}}, r"webhooks\.url: 'ops\.example' is not an http"),
        (
            {"secret": "whsec_c2VjcmV0"},
            r"webhooks\.secret: write \{ env = \"VARIABLE\" \}, which.* not written into the file\.$",
        ),
        ({"secrets": []}, r"webhooks\.secrets: unknown setting"),
    ],
)
def test_what_the_config_may_not_say(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        create_context(load_settings(environ={}, overrides={"webhooks": values}))
