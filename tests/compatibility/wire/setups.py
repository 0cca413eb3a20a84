"""How both versions are configured, and what is asked of them then."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.compatibility.wire import scenarios
from tests.compatibility.wire.exchanges import Step, get

DIALECTS = ("lightx2v", "wan22-predict", "wan21-submit", "openai-chat", "openai-videos", "sora2api")
SMALL_NAMES = (
    "sora2-landscape-10s",
    "sora2pro-landscape-10s",
    "gpt-image",
    "gpt-image-2",
    "ltx2_landscape",
    "ltx2_portrait",
    "sora-2",
    "Wan2.2-TI2V-5B",
)
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # an example of the Standard Webhooks' specification


def _aliases() -> str:
    """Return a config that makes what the catalogues' names make small and short."""
    image, video = "width = 64, height = 48", "width = 64, height = 48, duration = 0.5"
    return "".join(
        f'[aliases."{name}"]\nmodel = "{name}"\n'
        f"defaults = {{ {image if name.startswith('gpt') else video} }}\n"
        for name in SMALL_NAMES
    )


def _keys(**clients: str) -> str:
    """Return a config with a key for each client, and further settings of it."""
    return "".join(
        f'[[auth.keys]]\nname = "{name}"\nsha256 = "{_digest(_key(name))}"\n{more}\n'
        for name, more in clients.items()
    )


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _key(name: str) -> str:
    return f"{name}-secret"


@dataclass(frozen=True)
class Setup:
    """One configuration, and the steps to take with it.

    ``config`` may hold ``{media}``, the address of the stand with media. ``clients`` have keys.
    """

    name: str
    config: str
    steps: Sequence[Step]
    arguments: Sequence[str] = ()
    clients: Sequence[str] = ()
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables for the server. With a fixed seed of hashes, sets have one order in both versions."""
        return {"PYTHONHASHSEED": "0", **self.secrets}

    @property
    def keys(self) -> Mapping[str, str]:
        """The clients' keys."""
        return {name: _key(name) for name in self.clients}


_FETCH = '[fetch]\nallow = ["127.0.0.1"]\n'
_QUICK = "[dialects.wan22-predict]\ntimeout = 0.02\n[dialects.openai-videos]\nimage_timeout = 0.02\n"
_WEBHOOKS = (
    '[webhooks]\nurl = "{media}/hook"\nsecret = { env = "WEBHOOK_SECRET" }\nallowed_hosts = ["127.0.0.1"]\n'
)


_PREFIXES = """
[server]
public_url = "https://video.example.com/base"
[dialects.lightx2v]
prefix = "/light"
auth = false
vocabulary = "server"
[dialects.wan22-predict]
prefix = "/v4/app"
[dialects.wan21-submit]
prefix = "/v1/wan"
[dialects.openai-chat]
prefix = "/openai"
auth = false
[dialects.openai-videos]
prefix = "/openai"
[dialects.sora2api]
prefix = "/sora"
auth = false
models = ["ltx2_portrait"]
"""


def setups() -> list[Setup]:
    """Return everything that is compared."""
    secret = {"WEBHOOK_SECRET": _SECRET}
    idle = ("--no-worker",)
    people = {"alice": 'plan = "chatgpt_pro"', "bob": ""}
    quotas = {**people, "queued": "max_queued = 1", "active": "max_active = 1"}
    small = "[server]\nmax_body = 300000\n[queue]\nmax_queued = 5\n"
    limits = '[fetch]\nallow = ["127.0.0.1"]\nmax_bytes = 100000\n'
    return [
        Setup("without keys", _FETCH + _WEBHOOKS + _aliases(), scenarios.working(), secrets=secret),
        Setup("with keys", _FETCH + _aliases() + _keys(**people), scenarios.private(), clients=tuple(people)),
        Setup("without a worker", _FETCH + _QUICK + _aliases(), scenarios.queued(), idle),
        Setup(
            "with limits",
            small + limits + _QUICK + _aliases() + _keys(**quotas),
            scenarios.limited(),
            idle,
            tuple(quotas),
        ),
        Setup(
            "below prefixes", _FETCH + _PREFIXES + _keys(**people), scenarios.prefixed(), idle, tuple(people)
        ),
        Setup(
            "with keys, reordered",
            f"[dialects]\nenabled = {list(reversed(DIALECTS))}\n" + _keys(**people),
            [get(scenarios.DOCUMENT), get("/v1/models")],
            idle,
            tuple(people),
        ),
        *(
            Setup(f"{name} alone", f'[dialects]\nenabled = ["{name}"]\n', scenarios.alone(name), idle)
            for name in DIALECTS
        ),
    ]
