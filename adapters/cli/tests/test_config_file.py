"""What the config means, and what its errors say."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from framegate.cli.config_file import load_settings
from framegate.core.errors import ConfigError
from framegate.core.models import Defaults
from framegate.core.options import Duration
from framegate.core.settings import KeyConfig, Settings

Load = Callable[..., Settings]
SECRET = "".join(("top", "secret"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@pytest.fixture
def load(config: Path) -> Load:
    """The settings of a file with this text, these environment variables and overrides."""

    def load(text: str = "", environ: dict[str, str] | None = None, **overrides: Any) -> Settings:
        config.write_text(text, encoding="utf-8")
        values = {name.replace("__", "."): value for name, value in overrides.items()}
        return load_settings(config, environ or {}, values)

    return load


@pytest.fixture
def error_of(load: Load, config: Path) -> Callable[..., str]:
    """The error of a config, the file in it shortened to its name."""

    def error_of(text: str = "", environ: dict[str, str] | None = None, **overrides: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, environ, **overrides)
        return caught.value.message.replace(str(config), config.name)

    return error_of


ErrorOf = Callable[..., str]


def test_without_any_config() -> None:
    settings = load_settings(None, {})
    assert settings == Settings()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8000)
    assert settings.dialects.enabled is None
    assert settings.queue.url == "embedded"
    assert settings.storage.retention == Duration(3600)


def test_the_environment_wins_over_the_file_and_an_option_over_both(load: Load) -> None:
    text = '[server]\nhost = "10.0.0.1"\nport = 1\npublic_url = "https://a.example"\n'
    settings = load(
        text, {"FRAMEGATE_SERVER__PORT": "2", "FRAMEGATE_SERVER__HOST": "10.0.0.2"}, server__port=3
    )
    assert (settings.server.port, settings.server.host) == (3, "10.0.0.2")
    assert settings.server.public_url == "https://a.example"


def test_which_file_is_read(tmp_path: Path) -> None:
    for name, port in (("framegate.toml", 1), ("named.toml", 2), ("given.toml", 3)):
        (tmp_path / name).write_text(f"server.port = {port}\n")
    named = {"FRAMEGATE_CONFIG": str(tmp_path / "named.toml")}
    assert load_settings(None, {}).server.port == 1
    assert load_settings(None, named).server.port == 2
    assert load_settings(tmp_path / "given.toml", named).server.port == 3


def test_the_processs_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEGATE_SERVER__PORT", "4321")
    assert load_settings().server.port == 4321


def test_a_whole_config(load: Load) -> None:
    settings = load(
        """
        [dialects]
        enabled = ["lightx2v", "wan22-predict"]
        [dialects.lightx2v]
        prefix = "/lx"
        [models.wan22]
        source = "/models/wan"
        options = { compile = true }
        defaults = { width = 832, num_inference_steps = 4 }
        [models."Wan2.2-TI2V-5B"]
        backend = "wan22"
        [presets]
        sora2api = { video = "wan22" }
        [aliases.my-model]
        model = "wan22"
        plan = "gold"
        [fetch]
        allow = ["10.0.0.0/8"]
        """
    )
    assert settings.dialects.enabled == ("lightx2v", "wan22-predict")
    assert settings.dialects.options == {"lightx2v": {"prefix": "/lx"}}
    assert settings.models["wan22"].options == {"compile": True}
    assert settings.models["wan22"].defaults == Defaults(width=832, num_inference_steps=4)
    assert settings.models["Wan2.2-TI2V-5B"].backend == "wan22"
    assert (settings.presets["sora2api"].video, settings.presets["sora2api"].image) == ("wan22", None)
    assert (settings.aliases["my-model"].model, settings.aliases["my-model"].plan) == ("wan22", "gold")
    assert settings.fetch.allow == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ('"90s"', 90),
        ('"15m"', 900),
        ('"1h"', 3600),
        ('"7d"', 604_800),
        ('"1.5h"', 5400),
        ('" 2 m "', 120),
        ("45", 45),
        ("0.5", 0.5),
        ("0", 0),
    ],
)
def test_durations(load: Load, written: str, seconds: float) -> None:
    assert load(f"storage.retention = {written}").storage.retention == seconds
    from_environment = load("", {"FRAMEGATE_STORAGE__RETENTION": written}).storage.retention
    assert (from_environment, type(from_environment)) == (seconds, Duration)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('"soon"', '"soon"'),
        ('"1w"', '"1w"'),
        ("-1", "-1"),
        ("inf", "Infinity"),
        ("nan", "NaN"),
        ("true", "true"),
        ('"10"', '"10"'),
        ("[1]", "this"),
    ],
)
def test_what_is_no_duration(error_of: ErrorOf, written: str, shown: str) -> None:
    assert error_of(f"[storage]\nretention = {written}") == (
        f'config.toml:2: storage.retention: {shown} is not a duration such as "90s", "15m" or "1h".'
    )


VARIABLES: list[tuple[str, str, Callable[[Settings], object], object]] = [
    ("FRAMEGATE_SERVER__HOST", "0.0.0.0", lambda s: s.server.host, "0.0.0.0"),
    (
        "FRAMEGATE_SERVER__PUBLIC_URL",
        "https://a.example/x",
        lambda s: s.server.public_url,
        "https://a.example/x",
    ),
    ("framegate_server__port", "1", lambda s: s.server.port, 8000),
    ("FRAMEGATE_STORAGE__RETENTION", "2h", lambda s: s.storage.retention, 7200),
    ("FRAMEGATE_FETCH__ALLOW", '["10.0.0.0/8", "cdn"]', lambda s: s.fetch.allow, ("10.0.0.0/8", "cdn")),
    ("FRAMEGATE_DIALECTS__ENABLED", "['lightx2v']", lambda s: s.dialects.enabled, ("lightx2v",)),
    (
        "FRAMEGATE_DIALECTS__WAN22_PREDICT__PREFIX",
        "/wan",
        lambda s: s.dialects.options,
        {"wan22-predict": {"prefix": "/wan"}},
    ),
    (
        "FRAMEGATE_MODELS__WAN22",
        '{source = "/models/wan"}',
        lambda s: s.models["wan22"].source,
        "/models/wan",
    ),
    ("FRAMEGATE_MODELS__WAN22__DEFAULTS__WIDTH", "640", lambda s: s.models["wan22"].defaults.width, 640),
    ("FRAMEGATE_PRESETS__SORA2API__VIDEO", "preview", lambda s: s.presets["sora2api"].video, "preview"),
    ("FRAMEGATE_SOMETHING", "else", lambda s: s.server.port, 8000),
]


@pytest.mark.parametrize(("name", "value", "look", "expected"), VARIABLES)
def test_environment_variables(
    load: Load, name: str, value: str, look: Callable[[Settings], object], expected: object
) -> None:
    assert look(load("", {name: value})) == expected


def test_environment_variables_find_the_files_own_names(load: Load) -> None:
    text = '[dialects.wan22-predict]\nauth = false\n[models.My-Model]\nbackend = "preview"\n'
    settings = load(
        text,
        {"FRAMEGATE_DIALECTS__WAN22_PREDICT__PREFIX": "/wan", "FRAMEGATE_MODELS__MY_MODEL__SOURCE": "/m"},
    )
    assert settings.dialects.options == {"wan22-predict": {"auth": False, "prefix": "/wan"}}
    assert settings.models.keys() == {"My-Model"}
    assert (settings.models["My-Model"].backend, settings.models["My-Model"].source) == ("preview", "/m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[server]\nport = true\n",
            "config.toml:2: server.port: true is not a whole number from 0 to 65535.",
        ),
        (
            '[server]\nport = "web"\n',
            'config.toml:2: server.port: "web" is not a whole number from 0 to 65535.',
        ),
        (
            "[server]\n\nport = 99999\n",
            "config.toml:3: server.port: 99999 is not a whole number from 0 to 65535.",
        ),
        ("server.port = -1\n", "config.toml:1: server.port: -1 is not a whole number from 0 to 65535."),
        ("server = 5\n", "config.toml:1: server: 5 is not a table."),
        ("[server]\nhosts = 1\n", "config.toml:2: server.hosts: unknown setting; did you mean host?"),
        ("[sever]\nport = 1\n", "config.toml:1: sever: unknown setting; did you mean server?"),
        ("[server]\ndata_dir = 5\n", "config.toml:2: server.data_dir: 5 is not a path in quotes."),
        ("[fetch]\nallow = [\n  5,\n]\n", "config.toml:2: fetch.allow[0]: 5 is not a text in quotes."),
        ("[fetch]\nallow = 'all'\n", 'config.toml:2: fetch.allow: "all" is not a list; write ["all"].'),
        ("[models.wan22]\nsource = 5\n", "config.toml:2: models.wan22.source: 5 is not a text in quotes."),
        (
            '[models.a]\n[models."Wan2.2"]\nsorce = "x"\n',
            "config.toml:3: models.Wan2.2.sorce: unknown setting; did you mean source?",
        ),
        (
            "[models.a]\ndefaults = { width = 'wide' }\n",
            'config.toml:2: models.a.defaults.width: "wide" is not a whole number.',
        ),
        ("models.wan22 = 'x'\n", 'config.toml:1: models.wan22: "x" is not a table.'),
        ("[aliases.a]\nplan = 'x'\n", "config.toml:1: aliases.a: model is missing; write a text in quotes."),
        ("dialects.lightx2v = 5\n", "config.toml:1: dialects.lightx2v: 5 is not a table."),
        (
            "[[auth.keys]]\nname = 'a'\n\n[[auth.keys]]\nname = 'b c'\n",
            (
                "config.toml:5: auth.keys[1].name: this is not a name of up to 64 letters, digits and any of "
                ". _ -."
            ),
        ),
        (
            "[[auth.keys]]\nname = 'a'\n[[auth.keys]]\n[auth.keys.key]\nenv = 'A'\n",
            (
                "config.toml:3: auth.keys[1]: name is missing; write a name of up to 64 letters, digits and "
                "any of . _ -."
            ),
        ),
        (
            "[queue]\nurl = 'redis://queue:secret/0'\n",
            (
                "config.toml:2: queue.url: this is not a URL such as redis://user:password@host:6379/0 or "
                "sentinel://user:password@host:26379,host:26379/name-of-the-primary/0."
            ),
        ),
        (
            "[queue]\nurl = 'http://queue'\n",
            (
                'config.toml:2: queue.url: "http://queue" is not "embedded" or a URL that begins with '
                "redis://, rediss://, unix:// or sentinel://."
            ),
        ),
        (
            "[server]\nport = \n",
            "config.toml:2: this is not TOML: Invalid value (at line 2, column 8).",
        ),
        (
            "[server]\nport = 1\nport = 2\n[queue]\n",
            "config.toml:3: this is not TOML: Cannot overwrite a value (at line 3, column 9).",
        ),
    ],
)
def test_an_error_names_file_line_and_key(error_of: ErrorOf, text: str, message: str) -> None:
    assert error_of(text) == message


@pytest.mark.parametrize(
    "text",
    [
        f"[[auth.keys]]\nname = 'a'\nkey = '{SECRET}'\n",
        f"[[auth.keys]]\nname = 'a'\nsha256 = '{SECRET}'\n",
        f"[[auth.keys]]\nname = 'a'\nkey = {{ env = ['{SECRET}'] }}\n",
        f"auth.keys = '{SECRET}'\n",
        f"auth = '{SECRET}'\n",
        f"[queue]\nurl = 'reds://user:{SECRET}@host/0'\n",
        f"[links]\nsecret = '{SECRET}'\n",
        f"[links]\nsecret = ['{SECRET}']\n",
        f"[webhooks]\nsecret = '{SECRET}'\n",
        f"[storage]\nsecret_access_key = '{SECRET}'\n",
        f"[storage]\naccess_key_id = '{SECRET}'\n",
    ],
)
def test_an_error_shows_no_secret(error_of: ErrorOf, text: str) -> None:
    assert SECRET not in error_of(text)
    key, _, value = text.splitlines()[-1].partition(" = ")
    if key == "sha256":
        assert SECRET not in error_of("", {"FRAMEGATE_AUTH__KEYS": f"[{{ name = 'a', sha256 = {value} }}]"})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"FRAMEGATE_SERVER__PORT": "many"},
            (
                'environment variable FRAMEGATE_SERVER__PORT: server.port: "many" is not a whole number from '
                "0 to 65535."
            ),
        ),
        (
            {"FRAMEGATE_SERVER__PROT": "1"},
            "environment variable FRAMEGATE_SERVER__PROT: server.prot: unknown setting; did you mean port?",
        ),
        (
            {"FRAMEGATE_SEVER__PORT": "1"},
            "environment variable FRAMEGATE_SEVER__PORT: sever: unknown setting; did you mean server?",
        ),
        (
            {"FRAMEGATE_SERVER__PORT__X": "1"},
            "environment variable FRAMEGATE_SERVER__PORT__X: server.port is a value, not a table.",
        ),
        (
            {"FRAMEGATE_FETCH__ALLOW": "[5]"},
            "environment variable FRAMEGATE_FETCH__ALLOW: fetch.allow[0]: 5 is not a text in quotes.",
        ),
        (
            {"FRAMEGATE_ALIASES__FAST__DEFAULTS__WIDTH": "64"},
            (
                "environment variable FRAMEGATE_ALIASES__FAST__DEFAULTS__WIDTH: aliases.fast: "
                "model is missing; write a text in quotes."
            ),
        ),
    ],
)
def test_an_error_names_the_environment_variable(
    error_of: ErrorOf, environ: dict[str, str], message: str
) -> None:
    assert error_of("[server]\nport = 8000\n", environ) == message


def test_an_error_of_an_option_is_not_blamed_on_the_file(error_of: ErrorOf) -> None:
    message = error_of("[server]\nport = 8000\n", {"FRAMEGATE_SERVER__PORT": "1"}, server__port=99999)
    assert message == "command line: server.port: 99999 is not a whole number from 0 to 65535."


def test_a_file_that_cant_be_read(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"server.host = '\xe4'\n")
    for file, reason in (
        (tmp_path / "missing.toml", "No such file or directory"),
        (tmp_path, "Is a directory"),
        (latin, "it is not UTF-8 text"),
    ):
        with pytest.raises(ConfigError) as caught:
            load_settings(None, {"FRAMEGATE_CONFIG": str(file)})
        assert caught.value.message == f"{file}: can't be read: {reason}."


def test_keys_by_environment_and_digest(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALICE_KEY", SECRET)
    digest = hashlib.sha256(SECRET.encode())
    alice, bob = load(
        f"""
        [[auth.keys]]
        name = "alice"
        key = {{ env = "ALICE_KEY" }}
        plan = "chatgpt_pro"
        max_running = 2
        [[auth.keys]]
        name = "bob"
        sha256 = "{digest.hexdigest()}"
        """
    ).auth.keys
    assert alice.digests() == bob.digests() == [digest.digest()]
    assert (alice.name, alice.plan, alice.max_running, alice.max_queued) == ("alice", "chatgpt_pro", 2, None)


def test_a_key_is_given_in_one_way(load: Load) -> None:
    both = f"[[auth.keys]]\nname = 'a'\nkey = {{ env = 'A' }}\nsha256 = '{'0' * 64}'\n"
    for text in ("[[auth.keys]]\nname = 'a'\n", both):
        (key,) = load(text).auth.keys
        with pytest.raises(
            ConfigError, match=r'^auth\.keys\.a: give either key = \{ env = "VARIABLE" \} or sha256 = "…"\.$'
        ):
            key.digests()


@pytest.mark.parametrize("value", [None, ""])
def test_a_key_whose_variable_is_not_set(
    load: Load, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("ALICE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("ALICE_KEY", value)
    key: KeyConfig = load("[[auth.keys]]\nname = 'a'\nkey = { env = 'ALICE_KEY' }\n").auth.keys[0]
    with pytest.raises(
        ConfigError, match=r"^auth\.keys\.a\.key: the environment variable ALICE_KEY is not set\.$"
    ):
        key.digests()


def test_the_data_folder(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert load().server.data_path == tmp_path / "home" / ".local" / "share" / "framegate"
    assert load("server.data_dir = 'here'").server.data_path == tmp_path / "here"


@pytest.mark.parametrize("origin", ["null", "https://a.example", "http://localhost:80", "http://[::1]:8000"])
def test_origins(load: Load, origin: str) -> None:
    assert load(f'[server]\ncors_origins = ["{origin}"]').server.cors_origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    ["*", "", "a.example", "https://a.example/", "https://a.example/x", "https://*", "file://", "null "],
)
def test_what_is_no_origin(error_of: ErrorOf, origin: str) -> None:
    message = error_of(f'[server]\ncors_origins = ["{origin}"]')
    assert message.startswith("config.toml:2: server.cors_origins[0]: ")


def test_the_grace_for_workers(load: Load, error_of: ErrorOf) -> None:
    assert load("").queue.worker_grace == 60.0
    assert load('[queue]\nworker_grace = "2h"').queue.worker_grace == 7200.0
    assert load('[queue]\nworker_grace = "forever"').queue.worker_grace == math.inf
    for written, shown in (("inf", "Infinity"), ('"never"', '"never"'), ("-1", "-1")):
        assert error_of(f"[queue]\nworker_grace = {written}") == (
            f'config.toml:2: queue.worker_grace: {shown} is not a duration such as "90s", "15m" or "1h" or '
            '"forever".'
        )
    assert "retention" in error_of('[storage]\nretention = "forever"')
