"""Which settings a running process can change."""

import pytest
from msgspec.structs import replace

from framegate.core.options import Duration
from framegate.core.registry import AliasConfig, ModelConfig
from framegate.core.reloading import FIXED_IN_SERVER, FIXED_IN_WORKER, plan_reload
from framegate.core.settings import (
    AuthSettings,
    DialectsSettings,
    KeyConfig,
    QueueSettings,
    ServerSettings,
    Settings,
    StorageSettings,
    WorkerSettings,
)

OLD = Settings(
    models={"a": ModelConfig(), "b": ModelConfig()},
    dialects=DialectsSettings(None, {"lightx2v": {"prefix": ""}}),
)


def test_the_same_config_changes_nothing() -> None:
    plan = plan_reload(OLD, OLD, fixed=FIXED_IN_SERVER)
    assert (plan.settings, plan.changed, plan.needs_restart) == (OLD, (), ())


def test_changes_are_named_but_not_their_values() -> None:
    new = replace(
        OLD,
        auth=AuthSettings((KeyConfig(name="alice"),)),
        models={"a": ModelConfig(preset="fast"), "c": ModelConfig()},
        aliases={"x": AliasConfig("a")},
        dialects=DialectsSettings(("lightx2v",), {"lightx2v": {"prefix": "/v4"}, "sora2api": {}}),
        queue=QueueSettings(max_queued=7),
        server=ServerSettings(docs="off"),
    )
    plan = plan_reload(OLD, new, fixed=FIXED_IN_SERVER)
    assert plan.settings == new
    assert plan.changed == (
        "aliases.x",
        "auth.keys",
        "dialects.enabled",
        "dialects.lightx2v",
        "dialects.sora2api",
        "models.a",
        "models.b",
        "models.c",
        "queue.max_queued",
        "server.docs",
    )
    assert plan.needs_restart == ()


def test_what_needs_a_restart_stays_as_it_was() -> None:
    new = replace(
        OLD,
        queue=QueueSettings(url="redis://other", prefix="x:", max_queued=7),
        server=ServerSettings(port=9, max_body=5),
        storage=StorageSettings(url="s3://other", endpoint="https://s3", retention=Duration(5)),
        worker=WorkerSettings(memory=3),
    )
    plan = plan_reload(OLD, new, fixed=FIXED_IN_SERVER)
    assert plan.settings == replace(
        OLD,
        queue=QueueSettings(max_queued=7),
        server=ServerSettings(max_body=5),
        storage=StorageSettings(retention=Duration(5)),
    )
    assert plan.changed == ("queue.max_queued", "server.max_body", "storage.retention")
    assert plan.needs_restart == (
        "queue.prefix",
        "queue.url",
        "server.port",
        "storage.endpoint",
        "storage.url",
        "worker.memory",
    )


@pytest.mark.parametrize("fixed", [FIXED_IN_SERVER, FIXED_IN_WORKER])
def test_every_fixed_setting_exists(fixed: frozenset[str]) -> None:
    for name in fixed:
        table, field = name.split(".")
        assert hasattr(getattr(OLD, table), field), name
