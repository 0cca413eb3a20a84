"""Which model stands behind a name."""

from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from framegate.core.config_errors import ErrorCollector
from framegate.core.dialect import CatalogueName
from framegate.core.errors import ConfigError, ModelNotFound
from framegate.core.fitting import fit
from framegate.core.models import Defaults, FrameRule, ModelPreset, ModelSpec, Range, SizeRule
from framegate.core.registry import REFRESH_SECONDS, AliasConfig, CatalogueConfig, ModelConfig, Registry
from framegate.core.types import GenerationRequest, MediaKind, Task


def model(name: str, *, needs_source: bool = False, source: str = "") -> ModelSpec:
    return ModelSpec(
        id=name,
        summary="",
        backend=f"{name}:Backend",
        tasks=frozenset(Task),
        needs_source=needs_source,
        source=source,
        options={"compile": False, "offload": "none"},
        defaults=Defaults(width=640, height=360, fps=24.0, num_frames=48),
    )


PREVIEW, WAN = model("preview"), model("wan22", needs_source=True)
OFFERED = {"preview": PREVIEW, "wan22": WAN}
ONLY_PREVIEW = {"preview": PREVIEW}
CATALOGUES = {
    "sora": (
        CatalogueName("clip", MediaKind.VIDEO, Defaults(width=720, height=1280, fps=24.0, duration=4.0)),
        CatalogueName("clip-pro", MediaKind.VIDEO, Defaults(duration=10.0), plan="gold"),
        CatalogueName("still", MediaKind.IMAGE, Defaults(width=360, height=360)),
    ),
    "wan": (
        CatalogueName(
            "WAN-5B",
            MediaKind.VIDEO,
            Defaults(width=1280, height=704, fps=24.0, num_frames=121),
            sizes=SizeRule(multiple_of=32, min_side=32, max_side=2048, max_pixels=2048 * 2048),
            frames=FrameRule(4, 1, 25, 121),
        ),
        CatalogueName(
            "WAN-I2V", MediaKind.VIDEO, Defaults(), tasks=frozenset({Task.IMAGE_TO_VIDEO}), max_running=2
        ),
    ),
}


def registry_of(offered: dict[str, ModelSpec], **config: Any) -> Registry:
    return Registry(offered, catalogues=CATALOGUES, **config)


def test_catalogues_and_models_with_only_the_preview_model() -> None:
    registry = registry_of(ONLY_PREVIEW)
    assert list(registry.names) == ["preview", "clip", "clip-pro", "still", "WAN-5B", "WAN-I2V"]
    assert {served.spec.id for served in registry.names.values()} == {"preview"}
    assert [name for name, served in registry.names.items() if served.makes(MediaKind.IMAGE)] == [
        "preview",
        "still",
    ]


def test_a_host_without_dialects_knows_no_names_of_theirs() -> None:
    """A worker's host may share its config with the servers, whose dialects it does not have."""
    registry = Registry(
        ONLY_PREVIEW,
        presets={"sora": CatalogueConfig(video="elsewhere")},
        aliases={
            "mine": AliasConfig("clip"),
            "mine-too": AliasConfig("mine"),
            "quick": AliasConfig("preview"),
        },
    )
    assert set(registry.names) == {"preview", "quick"}


def test_a_model_that_needs_a_source_is_served_once_it_has_one() -> None:
    assert set(registry_of(OFFERED).specs) == {"preview"}
    registry = registry_of(OFFERED, models={"wan22": ModelConfig(source="/models/wan")})
    assert registry.resolve("wan22").spec.source == "/models/wan"
    assert set(Registry({"wan22": model("wan22", needs_source=True, source="hub/wan")}).specs) == {"wan22"}
    with pytest.raises(
        ConfigError, match=r"^models\.fast\.source: give the backend 'wan22' a source, a folder or a hub id"
    ):
        registry_of(OFFERED, models={"fast": ModelConfig(backend="wan22")})


def test_a_model_under_another_name() -> None:
    config = ModelConfig(
        backend="wan22",
        source="/models/wan",
        options={"compile": True},
        defaults=Defaults(width=832, duration=5.0),
    )
    spec = registry_of(OFFERED, models={"fast": config}).resolve("fast").spec
    assert (spec.id, spec.backend, spec.queue) == ("fast", "wan22:Backend", "q-fast")
    assert spec.options == {"compile": True, "offload": "none"}
    assert spec.defaults == Defaults(width=832, height=360, fps=24.0, duration=5.0)
    assert WAN.options["compile"] is False, "what the plugin offers stays as it is"


def test_a_real_model_wins_over_a_catalogues_name() -> None:
    config = ModelConfig(backend="wan22", source="/models/wan")
    served = registry_of(OFFERED, models={"WAN-5B": config}).resolve("WAN-5B")
    assert (served.spec.id, served.spec.source, served.catalogue) == ("WAN-5B", "/models/wan", "")


def test_a_catalogue_pointed_at_a_model() -> None:
    registry = registry_of(
        OFFERED,
        models={"wan22": ModelConfig(source="/models/wan")},
        presets={"sora": CatalogueConfig(video="wan22")},
    )
    assert registry.resolve("clip").spec.id == "wan22"
    assert registry.resolve("still").spec.id == "preview"
    assert registry.resolve("WAN-5B").spec.id == "preview", "another catalogue"
    pro = registry.resolve("clip-pro")
    assert (pro.name, pro.plan, pro.catalogue) == ("clip-pro", "gold", "sora")


def test_a_catalogues_name_keeps_its_documents_rules() -> None:
    spec = registry_of(ONLY_PREVIEW).resolve("WAN-5B").spec
    assert spec.frames == FrameRule(4, 1, 25, 121)
    assert spec.sizes == SizeRule(multiple_of=32, min_side=32, max_side=2048, max_pixels=2048 * 2048)
    assert (spec.defaults.width, spec.defaults.height, spec.defaults.num_frames) == (1280, 704, 121)
    asked = GenerationRequest("WAN-5B", Task.TEXT_TO_VIDEO, "a boat", width=1280, height=720)
    fitted = fit(spec, asked)
    assert (fitted.width, fitted.height) == (1280, 704)


def test_without_preview_there_is_what_was_configured() -> None:
    registry = registry_of({"wan22": WAN}, models={"wan22": ModelConfig(source="/models/wan")})
    assert set(registry.names) == {"wan22"}


def test_an_alias_narrows_defaults() -> None:
    registry = registry_of(
        ONLY_PREVIEW,
        aliases={
            "short": AliasConfig(model="preview", defaults=Defaults(duration=1.0)),
            "tiny": AliasConfig(model="short", defaults=Defaults(width=64, height=64), plan="gold"),
            "cinema": AliasConfig(model="clip-pro"),
        },
    )
    tiny = registry.resolve("tiny")
    assert (tiny.spec.id, tiny.plan) == ("preview", "gold")
    assert tiny.spec.defaults == Defaults(width=64, height=64, fps=24.0, duration=1.0)
    cinema = registry.resolve("cinema")
    assert (cinema.plan, cinema.catalogue) == ("gold", "sora"), "an alias opens no plan"


def test_an_alias_may_redefine_a_catalogues_name() -> None:
    aliases = {"clip": AliasConfig(model="clip", defaults=Defaults(num_inference_steps=2))}
    spec = registry_of(ONLY_PREVIEW, aliases=aliases).resolve("clip").spec
    assert (spec.defaults.num_inference_steps, spec.defaults.duration) == (2, 4.0)


def test_aliases_of_aliases_in_any_order() -> None:
    aliases = {
        "quickest": AliasConfig("quick", Defaults(num_inference_steps=1)),
        "quick": AliasConfig("preview", Defaults(width=320)),
    }
    defaults = registry_of(ONLY_PREVIEW, aliases=aliases).resolve("quickest").spec.defaults
    assert (defaults.width, defaults.num_inference_steps) == (320, 1)
    circle = {"a": AliasConfig("b"), "b": AliasConfig("a")}
    with pytest.raises(ConfigError, match="the aliases a and b refer to each other"):
        registry_of(ONLY_PREVIEW, aliases=circle)


def test_a_catalogue_without_preview_needs_only_what_it_names() -> None:
    models = {"wan22": ModelConfig(source="/models/wan")}
    registry = registry_of({"wan22": WAN}, models=models, presets={"sora": CatalogueConfig(video="wan22")})
    assert registry.resolve("clip").spec.id == "wan22"
    assert "still" not in registry.names


def test_an_unknown_model_names_the_nearest() -> None:
    registry = registry_of(ONLY_PREVIEW)
    with pytest.raises(
        ModelNotFound, match=r"^There is no model 'prevew'\. Did you mean preview\?$"
    ) as caught:
        registry.resolve("prevew")
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")
    with pytest.raises(ModelNotFound) as long:
        registry.resolve("x" * 1_000_000)
    assert len(long.value.message) < 200


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"models": {"ltx": ModelConfig()}},
            (
                "models.ltx: no installed plugin has a backend 'ltx'; available: preview, wan22. "
                "Install the plugin that provides it, or correct `backend`."
            ),
        ),
        (
            {"presets": {"sara": CatalogueConfig()}},
            "presets.sara: there is no catalogue 'sara'; did you mean sora?",
        ),
        (
            {"presets": {"wan": CatalogueConfig(video="wan22")}},
            (
                "presets.wan.video: the model 'wan22' is served only once the config says where its "
                'weights are, as in [models.wan22] source = "/models/wan22" (a folder or a hub id).'
            ),
        ),
        (
            {"aliases": {"mine": AliasConfig(model="wan22")}},
            (
                "aliases.mine.model: the model 'wan22' is served only once the config says where its "
                'weights are, as in [models.wan22] source = "/models/wan22" (a folder or a hub id).'
            ),
        ),
        (
            {"aliases": {"mine": AliasConfig(model="prevew")}},
            (
                "aliases.mine.model: unknown model 'prevew'; did you mean preview? "
                "`framegate models` lists the names."
            ),
        ),
        (
            {"aliases": {"preview": AliasConfig(model="clip")}},
            "aliases.preview: a served model already has this name.",
        ),
    ],
)
def test_a_wrong_config_is_refused_with_its_key(
    config: dict[str, dict[str, ModelConfig | AliasConfig | CatalogueConfig]], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        registry_of(OFFERED, **config)
    assert caught.value.message == message


def test_everything_that_is_wrong_is_found_at_once_and_the_rest_is_served() -> None:
    found = ErrorCollector()
    registry = Registry(
        OFFERED,
        models={"ltx": ModelConfig(), "fine": ModelConfig(backend="preview"), "half": ModelConfig("wan22")},
        aliases={
            "one": AliasConfig("ltx"),  # not wrong itself
            "two": AliasConfig("one"),
            "three": AliasConfig("nothing-like-it"),
            "four": AliasConfig("fine"),
        },
        presets={"sara": CatalogueConfig(), "sora": CatalogueConfig(video="fin", image="half")},
        catalogues=CATALOGUES,
        found=found,
    )
    assert [error.key for error in found.errors] == [
        ("models", "ltx"),
        ("models", "half", "source"),
        ("presets", "sara"),
        ("presets", "sora", "video"),
        ("aliases", "three", "model"),
    ]
    assert "did you mean fine?" in found.errors[3].reason
    assert {"preview", "fine", "four"} <= registry.names.keys()
    assert not registry.names.keys() & {"ltx", "half", "one", "two", "three"}


def test_limits_on_running_jobs_of_models_and_names() -> None:
    registry = registry_of(
        ONLY_PREVIEW,
        models={"preview": ModelConfig(max_running=4)},
        aliases={
            "plain": AliasConfig("preview"),
            "one": AliasConfig("plain", max_running=1),
            "wan": AliasConfig("WAN-I2V"),
            "clip": AliasConfig("clip", max_running=3),
        },
    )

    def limits(name: str) -> dict[str, int]:
        return dict(registry.resolve(name).running_limits)

    model = {"model:preview": 4}
    wan = {"name:WAN-I2V": 2}
    assert limits("preview") == limits("plain") == limits("still") == model
    assert limits("one") == {**model, "name:one": 1}
    assert limits("wan") == limits("WAN-I2V") == {**model, **wan}, "an alias is no way around it"
    assert limits("clip") == {**model, "name:clip": 3}
    freed = registry_of(ONLY_PREVIEW, aliases={"WAN-I2V": AliasConfig("WAN-I2V", max_running=0)})
    assert dict(freed.resolve("WAN-I2V").running_limits) == {}


def test_what_plugins_offer_later_is_served_too(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("framegate.core.registry.time.monotonic", lambda: now)
    offered = dict(ONLY_PREVIEW)
    registry = registry_of(
        ONLY_PREVIEW, aliases={"mine": AliasConfig(model="preview")}, offered_now=lambda: dict(offered)
    )
    offered["WAN-5B"] = model("WAN-5B")
    assert registry.resolve("WAN-5B").spec.id == "preview", "it is not asked for every request"
    now += REFRESH_SECONDS
    assert registry.resolve("WAN-5B").spec.id == "WAN-5B"
    assert {"mine", "clip"} < set(registry.names)
    del offered["WAN-5B"]
    now += REFRESH_SECONDS
    assert registry.resolve("WAN-5B").spec.id == "preview"


def test_what_was_served_goes_on_being_served_when_asking_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("framegate.core.registry.time.monotonic", lambda: now)
    offered = {"ltx": model("ltx"), **ONLY_PREVIEW}
    registry = registry_of(
        offered, aliases={"mine": AliasConfig(model="ltx")}, offered_now=lambda: ONLY_PREVIEW
    )
    with capture_logs() as lines:
        for _ in range(3):
            now += REFRESH_SECONDS
            assert registry.resolve("mine").spec.id == "ltx"
    [line] = lines
    assert line["event"] == "models_not_reloaded"
    assert "aliases.mine.model: unknown model 'ltx'" in line["reason"]


QUICK = ModelPreset(
    summary="",
    options={"offload": "model", "steps": 4},
    defaults=Defaults(num_inference_steps=4, guidance_scale=1.0),
    steps=Range(1, 4),
    guidance=Range(1.0, 1.0),
)


def test_a_preset_of_a_model_brings_options_defaults_and_limits() -> None:
    offered = {"wan22": replace(WAN, presets={"quick": QUICK})}
    config = ModelConfig(
        backend="wan22", source="/m", preset="quick", options={"steps": 3}, defaults=Defaults(width=320)
    )
    spec = Registry(offered, models={"fast": config}).resolve("fast").spec
    assert spec.options == {"compile": False, "offload": "model", "steps": 3}, "the config has the last word"
    assert (spec.defaults.width, spec.defaults.height, spec.defaults.num_inference_steps) == (320, 360, 4)
    asked = GenerationRequest("fast", Task.TEXT_TO_VIDEO, "x", num_inference_steps=30, guidance_scale=5.0)
    fitted = fit(spec, asked)
    assert (fitted.num_inference_steps, fitted.guidance_scale) == (4, 1.0)
    assert {change.field for change in fitted.changes} == {"num_inference_steps", "guidance_scale"}


def test_a_preset_that_the_model_does_not_have_is_refused() -> None:
    offered = {"wan22": replace(WAN, presets={"quick": QUICK})}
    with pytest.raises(ConfigError) as caught:
        Registry(offered, models={"wan22": ModelConfig(source="/m", preset="quik")})
    assert caught.value.message == "models.wan22.preset: wan22 has no preset 'quik'; did you mean quick?"
