"""The model names that the APIs document."""

import pytest

from framegate.core.errors import ConfigError
from framegate.core.fitting import fit
from framegate.core.models import FrameRule, ModelSpec, SizeRule
from framegate.core.plugins import Plugins
from framegate.core.registry import AliasConfig, CatalogueConfig, Registry
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.server.plugin import framegate_dialects

OFFERED = {"preview": ModelSpec(id="preview", summary="", backend="nowhere:Nothing", tasks=frozenset(Task))}
CATALOGUES = Plugins({}, {dialect.name: dialect for dialect in framegate_dialects()}, ()).catalogues
SORA2API = {
    *(f"sora2-{shape}-{seconds}s" for shape in ("landscape", "portrait") for seconds in (10, 15, 25)),
    *(f"sora2pro-{shape}-{seconds}s" for shape in ("landscape", "portrait") for seconds in (10, 15, 25)),
    *(f"sora2pro-hd-{shape}-{seconds}s" for shape in ("landscape", "portrait") for seconds in (10, 15)),
    *("gpt-image", "gpt-image-landscape", "gpt-image-portrait"),
}


@pytest.fixture
def registry() -> Registry:
    return Registry(OFFERED, catalogues=CATALOGUES)


def test_the_documented_names_exist_with_only_the_preview_model(registry: Registry) -> None:
    assert set(registry.names) == SORA2API | {
        *("preview", "lightx2v", "lightx2v-image", "ltx2_landscape", "ltx2_portrait"),
        *("Wan2.1-I2V-14B-480P", "Wan2.2-TI2V-5B"),
        *(entry.name for entry in CATALOGUES["openai-videos"]),
    }
    assert {"sora-2", "sora-2-pro", "gpt-image-1", "dall-e-3"} < set(registry.names)
    assert {served.spec.id for served in registry.names.values()} == {"preview"}


def test_the_short_catalogues_are_listed_first(registry: Registry) -> None:
    assert list(registry.names)[1:8] == [
        *("lightx2v", "lightx2v-image", "Wan2.2-TI2V-5B", "Wan2.1-I2V-14B-480P"),
        *("ltx2_landscape", "ltx2_portrait", "sora-2"),
    ]
    assert list(CATALOGUES)[4:] == ["openai-videos", "sora2api"]


def test_no_two_catalogues_have_the_same_name() -> None:
    names = [entry.name for catalogue in CATALOGUES.values() for entry in catalogue]
    assert len(names) == len(set(names))


def test_every_name_can_make_what_it_stands_for(registry: Registry) -> None:
    for catalogue in CATALOGUES.values():
        for entry in catalogue:
            spec = registry.resolve(entry.name).spec
            usual = Task.TEXT_TO_IMAGE if entry.kind == MediaKind.IMAGE else Task.TEXT_TO_VIDEO
            task = usual if usual in spec.tasks else Task.IMAGE_TO_VIDEO
            fitted = fit(spec, GenerationRequest(entry.name, task, "a boat"))
            assert (fitted.width, fitted.height) == (entry.defaults.width, entry.defaults.height), entry.name
            if task.output == MediaKind.VIDEO:
                seconds = entry.defaults.duration
                wanted = entry.defaults.num_frames if seconds is None else seconds * fitted.fps
                assert fitted.num_frames == wanted, entry.name


def test_the_pro_names_need_a_plan(registry: Registry) -> None:
    pro = registry.resolve("sora2pro-landscape-10s")
    assert (pro.name, pro.plan, pro.catalogue) == ("sora2pro-landscape-10s", "chatgpt_pro", "sora2api")
    aliased = Registry(
        OFFERED, catalogues=CATALOGUES, aliases={"cinema": AliasConfig(model="sora2pro-landscape-10s")}
    ).resolve("cinema")
    assert (aliased.plan, aliased.catalogue) == ("chatgpt_pro", "sora2api"), "an alias opens no plan"


def test_the_length_in_a_documented_name_is_its_limit(registry: Registry) -> None:
    assert registry.resolve("sora2-portrait-15s").spec.max_duration == 15.0
    assert registry.resolve("sora-2").spec.max_duration == registry.resolve("preview").spec.max_duration


def test_a_name_keeps_its_documents_rules(registry: Registry) -> None:
    spec = registry.resolve("Wan2.2-TI2V-5B").spec
    assert spec.frames == FrameRule(4, 1, 25, 121)
    assert spec.sizes == SizeRule(multiple_of=32, min_side=32, max_side=2048, max_pixels=2048 * 2048)
    assert (spec.defaults.width, spec.defaults.height, spec.defaults.num_frames) == (1280, 704, 121)
    assert dict(registry.resolve("Wan2.1-I2V-14B-480P").running_limits) == {"name:Wan2.1-I2V-14B-480P": 2}


def test_an_unknown_catalogue_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        Registry(OFFERED, catalogues=CATALOGUES, presets={"sora": CatalogueConfig()})
    assert caught.value.message == (
        "presets.sora: there is no catalogue 'sora'; available: lightx2v, wan22-predict, wan21-submit, "
        "openai-chat, openai-videos, sora2api."
    )
