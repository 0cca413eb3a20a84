"""Discovery: what plugins offer, and what happens to a broken one."""

import sys
from collections.abc import Callable
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from framegate.core.command import CommandSpec
from framegate.core.config_errors import ErrorCollector
from framegate.core.dialect import DialectSpec
from framegate.core.errors import ConfigError, PluginError
from framegate.core.models import ModelSpec
from framegate.core.plugins import Plugins, PluginStatus, discover, hookimpl, load_object
from framegate.core.types import Task


def model(name: str) -> ModelSpec:
    return ModelSpec(id=name, summary="", backend="nowhere:Nothing", tasks=frozenset(Task))


def dialect(name: str) -> DialectSpec:
    return DialectSpec(name=name, summary="", factory="nowhere:create")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[..., EntryPoint]:
    """Make an installed plugin whose hooks give (or raise) what is said."""

    def make(
        name: str, *, models: Any = (), dialects: Any = (), commands: Any = (), problems: Any = ()
    ) -> EntryPoint:
        def answer(value: Any) -> Any:
            if isinstance(value, BaseException):
                raise value
            return value

        module = ModuleType(f"plugin_{name}")

        @hookimpl
        def framegate_models() -> Any:
            return answer(models)

        @hookimpl
        def framegate_dialects() -> Any:
            return answer(dialects)

        @hookimpl
        def framegate_commands() -> Any:
            return answer(commands)

        @hookimpl
        def framegate_health(config: Any, check_network: bool) -> Any:
            return [*answer(problems), *(f"{name} asks {place}" for place in config if check_network)]

        hooks = (framegate_models, framegate_dialects, framegate_commands, framegate_health)
        vars(module).update({hook.__name__: hook for hook in hooks})
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return EntryPoint(name, module.__name__, "framegate")

    return make


MakePlugin = Callable[..., EntryPoint]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write an importable module."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def offered_beside(point: EntryPoint, good: EntryPoint) -> PluginStatus:
    """The status of a broken plugin, which must be logged and leave the good one alone."""
    with capture_logs() as lines:
        found = discover([point, good])
    assert list(found.models) == ["fine"]
    statuses = {status.name: status for status in found.statuses}
    assert statuses["good"] == PluginStatus("good", "no distribution", "", models=("fine",))
    assert [(line["event"], line["plugin"], line["log_level"]) for line in lines] == [
        ("plugin_broken", point.name, "error")
    ]
    return statuses[point.name]


def test_what_plugins_offer(plugin: MakePlugin) -> None:
    found = discover(
        [
            plugin("zoo", models=[model("lion"), model("zebra")]),
            plugin("api", dialects=[dialect("soap")]),
            plugin("empty"),
        ]
    )
    assert (list(found.models), list(found.dialects)) == (["lion", "zebra"], ["soap"])
    assert [status.name for status in found.statuses] == ["api", "empty", "zoo"], "in one order everywhere"
    assert found.statuses[2].models == ("lion", "zebra")


def test_plugins_get_their_own_part_of_the_config(module: Callable[[str, str], str]) -> None:
    text = (
        "from framegate.core.errors import ConfigError\n"
        "from framegate.core.models import ModelSpec\n"
        "from framegate.core.plugins import hookimpl\n"
        "@hookimpl\n"
        "def framegate_models(config):\n"
        "    if 'wrong' in config: raise ConfigError('plugins.zoo.wrong: no')\n"
        "    return [ModelSpec(id=name, summary='', backend='a:b', tasks=frozenset()) for name in config]\n"
    )
    point = EntryPoint("zoo", module("configured", text), "framegate")
    assert not discover([point]).models
    found = discover([point], {"zoo": {"lion": 1}})
    assert list(found.models) == list(found.models_now()) == ["lion"]
    with pytest.raises(ConfigError, match=r"plugins\.zoo\.wrong: no"):
        discover([point], {"zoo": {"wrong": 1}})
    with pytest.raises(ConfigError, match=r"plugins\.farm: unknown plugin 'farm'; available: zoo\."):
        discover([point], {"farm": {}})


def test_models_that_come_and_go(plugin: MakePlugin) -> None:
    models = [model("lion")]
    found = discover([plugin("zoo", models=models), plugin("farm", models=[model("cow")])])
    models.append(model("zebra"))
    assert set(found.models_now()) == {"cow", "lion", "zebra"}
    models[0] = model("cow")
    with capture_logs() as lines:
        assert set(found.models_now()) == set(found.models_now()) == {"cow"}, "zoo's lion is gone"
    [line] = lines
    assert (line["event"], line["log_level"]) == ("plugin_disabled", "error")
    assert "both offer a model named cow" in line["reason"]
    models[0] = model("tiger")
    assert set(found.models_now()) == {"cow", "tiger", "zebra"}


def test_problems_are_told(plugin: MakePlugin) -> None:
    found = discover([plugin("zoo", problems=["The lion is ill."])], {"zoo": {"africa": 1}})
    assert found.statuses[0].health_findings == ("The lion is ill.",)
    assert found.health_findings(check_network=True) == ["The lion is ill.", "zoo asks africa"]


def test_a_plugin_that_cant_tell_its_problems(module: Callable[[str, str], str], plugin: MakePlugin) -> None:
    text = (
        "from framegate.core.plugins import hookimpl\n"
        "@hookimpl\n"
        "def framegate_health(config, check_network):\n"
        "    if check_network: raise OSError('no network')\n"
        "    return []\n"
    )
    mute = EntryPoint("mute", module("mute", text), "framegate")
    found = discover([mute, plugin("zoo", problems=["The lion is ill."])])
    with capture_logs() as lines:
        assert found.health_findings(check_network=True) == ["mute: OSError: no network", "The lion is ill."]
    assert [line["event"] for line in lines] == ["plugin_broken"]


def test_commands_of_plugins(plugin: MakePlugin) -> None:
    status = discover([plugin("zoo", commands=[CommandSpec("feed", "Feed all.", "zoo:feed")])]).statuses[0]
    assert status.commands == ("feed",)


def test_nothing_is_installed() -> None:
    assert discover([]) == Plugins({}, {}, ())


def test_the_installed_plugins_are_found() -> None:
    found = discover()
    assert "preview" in found.models
    assert not [status for status in found.statuses if status.error]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise RuntimeError('no driver')", "RuntimeError: no driver"),
        ("import sys\nsys.exit('no licence')", "SystemExit: no licence"),
        ("this is no Python", "SyntaxError: invalid syntax"),
    ],
)
def test_a_plugin_that_cant_be_imported(
    text: str, error: str, plugin: MakePlugin, module: Callable[[str, str], str]
) -> None:
    broken = EntryPoint("broken", module(f"broken_{len(text)}", text), "framegate")
    assert offered_beside(broken, plugin("good", models=[model("fine")])).error.startswith(error)


@pytest.mark.parametrize(
    ("offers", "error"),
    [
        ({"models": RuntimeError("no driver")}, "RuntimeError: no driver"),
        ({"dialects": KeyError("x")}, "KeyError: 'x'"),
        (
            {"models": [model("lion"), "zebra"]},
            "TypeError: framegate_models returned 'zebra', which is not a ModelSpec",
        ),
        ({"dialects": [model("lion")]}, "TypeError: framegate_dialects returned ModelSpec("),
        ({"models": 7}, "TypeError: 'int' object is not iterable"),
        ({"models": [model("lion"), model("lion")]}, "ValueError: it offers the model lion twice"),
        (
            {"models": [replace(model("lion"), defaults=None)]},
            "TypeError: framegate_models returned a ModelSpec",
        ),
        ({"models": [replace(model("lion"), id=5)]}, "TypeError: framegate_models returned a ModelSpec"),
        ({"models": [model("")]}, "ValueError: '' is not a name"),
        ({"dialects": [dialect("\x1b[31m")]}, "ValueError: '\\x1b[31m' is not a name"),
        ({"problems": SystemExit(3)}, "SystemExit: 3"),
    ],
)
def test_a_plugin_whose_hooks_are_wrong(offers: dict[str, Any], error: str, plugin: MakePlugin) -> None:
    status = offered_beside(plugin("broken", **offers), plugin("good", models=[model("fine")]))
    assert status.error.startswith(error)
    assert (status.models, status.dialects) == ((), ())


def test_a_hook_that_does_not_exist(plugin: MakePlugin, module: Callable[[str, str], str]) -> None:
    text = "from framegate.core.plugins import hookimpl\n@hookimpl\ndef framegate_model(): return []\n"
    status = offered_beside(
        EntryPoint("broken", module("misspelt", text), "framegate"), plugin("good", models=[model("fine")])
    )
    assert "unknown hook 'framegate_model'" in status.error


@pytest.mark.parametrize(
    ("kind", "offers"),
    [
        ("model", {"models": [model("lion")]}),
        ("dialect", {"dialects": [dialect("lion")]}),
        ("command", {"commands": [CommandSpec("lion", "", "zoo:lion")]}),
    ],
)
def test_of_two_plugins_with_one_name_the_later_is_disabled(
    plugin: MakePlugin, kind: str, offers: dict[str, Any]
) -> None:
    points = [plugin("zoo", **offers), plugin("farm", **offers), plugin("good", models=[model("fine")])]
    with capture_logs() as lines:
        found = discover(points)
    statuses = {status.name: status for status in found.statuses}
    assert (statuses["farm"].error, statuses["good"].error) == ("", "")
    assert statuses["zoo"].error == (
        f"The plugins farm (no distribution) and zoo (no distribution) both offer a {kind} named lion, "
        "so the latter is disabled; uninstall one of them, or name one in [plugins] disabled."
    )
    assert [(line["event"], line["plugin"], line["log_level"]) for line in lines] == [
        ("plugin_disabled", "zoo", "error")
    ]
    assert [plugin.name for plugin in found.loaded] == ["farm", "good"]


def test_nothing_of_a_disabled_plugin_is_offered(plugin: MakePlugin) -> None:
    one = plugin("farm", models=[model("lion")])
    other = plugin("zoo", models=[model("lion"), model("zebra")], dialects=[dialect("soap")])
    found = discover([one, other])
    assert (list(found.models), list(found.dialects)) == (["lion"], [])


def test_plugins_that_the_config_disables(plugin: MakePlugin) -> None:
    points = [plugin("farm", models=[model("lion")]), plugin("zoo", models=[model("lion")])]
    found = discover(points, {"farm": {"kept": 1}}, disabled=["farm"])
    assert found.statuses == (
        PluginStatus("farm", "no distribution", "", disabled=True),
        PluginStatus("zoo", "no distribution", "", models=("lion",)),
    )
    message = r"^plugins\.disabled\[1\]: unknown plugin 'zo'; did you mean zoo\?$"
    with pytest.raises(ConfigError, match=message):
        discover(points, disabled=["farm", "zo"])


def test_everything_that_is_wrong_in_plugins_tables_is_found_at_once(
    plugin: MakePlugin, module: Callable[[str, str], str]
) -> None:
    text = (
        "from framegate.core.errors import ConfigError\n"
        "from framegate.core.plugins import hookimpl\n"
        "@hookimpl\n"
        "def framegate_models(config):\n"
        "    raise ConfigError('no', key=('plugins', 'wrong', 'x'))\n"
    )
    point = EntryPoint("wrong", module("wrong_table", text), "framegate")
    found = ErrorCollector()
    plugins = discover([point, plugin("good", models=[model("fine")])], {"god": {}}, found=found)
    assert list(plugins.models) == ["fine"]
    assert [error.message for error in found.errors] == [
        "plugins.wrong.x: no",
        "plugins.god: unknown plugin 'god'; did you mean good?",
    ]


def installed(tmp_path: Path, distribution: str, plugin: str, module: str) -> EntryPoint:
    """Return the plugin of a distribution that lies in a folder."""
    folder = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    (folder / "entry_points.txt").write_text(f"[framegate]\n{plugin} = {module}\n")
    [point] = Distribution.at(folder).entry_points
    return point


SOAP = (
    "from framegate.core.plugins import hookimpl\n"
    "from framegate.core.dialect import DialectSpec\n"
    "@hookimpl\n"
    "def framegate_dialects(): return [DialectSpec('soap', '', 'a:b')]\n"
)


@pytest.mark.parametrize(
    ("distributions", "disabled"),
    [
        (("soap-old", "soap-new"), "soap-old"),
        (("acme", "framegate-server"), "acme"),
        (("framegate-acme", "framegate-server"), "framegate-acme"),
    ],
)
def test_which_plugin_keeps_the_name(
    tmp_path: Path, module: Callable[[str, str], str], distributions: tuple[str, str], disabled: str
) -> None:
    """Framegate's own does, whatever the others are called."""
    points = [installed(tmp_path, name, "soap", module("soap_plugin", SOAP)) for name in distributions]
    statuses = {status.distribution: status for status in discover(points).statuses}
    (kept,) = set(distributions) - {disabled}
    assert (statuses[kept].version, statuses[kept].dialects, statuses[kept].error) == ("1.2", ("soap",), "")
    assert f"The plugins soap ({kept}) and soap ({disabled}) both" in statuses[disabled].error


def test_what_workers_lack_is_told_once_and_the_models_are_there(plugin: MakePlugin) -> None:
    needy = [
        replace(model(name), requires=frozenset({"json", "no_such_torch"}), install="pip install 'x[torch]'")
        for name in ("large", "small")
    ]
    found = discover([plugin("needy", models=needy), plugin("good", models=[model("fine")])])
    assert set(found.models) == {"large", "small", "fine"}
    missing = {status.name: status.missing for status in found.statuses}
    assert missing == {
        "needy": "workers here lack no_such_torch; install with: pip install 'x[torch]'",
        "good": "",
    }


def test_an_object_by_its_import_string() -> None:
    assert load_object("framegate.core.types:Task") is Task


def test_an_object_whose_package_is_missing(module: Callable[[str, str], str]) -> None:
    name = module("needs_more", "import no_such_package.deep")
    with pytest.raises(
        PluginError, match="needs_more:Thing needs the module no_such_package, which is not inst"
    ):
        load_object(f"{name}:Thing")


@pytest.mark.parametrize(
    ("import_string", "message"),
    [
        ("no_such_package:Thing", "needs the module no_such_package, which is not installed"),
        ("framegate.core.types:Thing", "the module framegate.core.types has no 'Thing'"),
        ("framegate.core.types", "the module framegate.core.types has no ''"),
        (":Thing", "can't be imported: ValueError: Empty module name"),
    ],
)
def test_an_import_string_that_leads_nowhere(import_string: str, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        load_object(import_string)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import math\nmath.no_such_thing", "AttributeError: module 'math' has no attribute 'no_such_thing'"),
        ("from math import no_such_thing", "ImportError: cannot import name 'no_such_thing' from 'math'"),
        ("raise OSError('libcuda is missing')", "OSError: libcuda is missing"),
    ],
)
def test_a_module_that_breaks_says_why(text: str, reason: str, module: Callable[[str, str], str]) -> None:
    name = module(f"breaks_{len(text)}", text)
    with pytest.raises(PluginError, match=f"^{name}:Thing can't be imported: {reason}"):
        load_object(f"{name}:Thing")
