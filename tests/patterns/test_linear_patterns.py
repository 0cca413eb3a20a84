"""Every regular expression that sees what clients or other servers send takes time linear in its length.

The patterns are found in the source, so none can be forgotten. A pattern that is computed when the program
runs is listed here with how it is made, and one that only ever sees the operator's own words with the reason.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pytest

from framegate.plugins.diffusers import hub_files
from framegate.plugins.preview import scenes
from tests.support.adversarial_texts import adversarial_texts, used_as
from tests.support.source_patterns import SourcePattern, source_patterns
from tests.support.timing import LONG, SHORT, is_linear

_HUB_FILES = "plugins/diffusers/src/framegate/plugins/diffusers/hub_files.py"
COMPUTED: Mapping[str, Callable[[], list[str]]] = {
    "plugins/preview/src/framegate/plugins/preview/scenes.py: pattern": lambda: [
        scenes.names_pattern(max(names.values(), key=len)) for names in (scenes.NAMES, scenes.HOURS)
    ],
    f"{_HUB_FILES}: f'{{STEM}}\\\\.{{name_of_variant}}(-{{SHARD}})?\\\\.{{SUFFIX}}$'": lambda: [
        rf"{hub_files.STEM}\.fp16(-{hub_files.SHARD})?\.{hub_files.SUFFIX}$"
    ],
    f"{_HUB_FILES}: f'{{STEM}}\\\\.{{SUFFIX}}\\\\.index\\\\.{{name_of_variant}}\\\\.json$'": lambda: [
        rf"{hub_files.STEM}\.{hub_files.SUFFIX}\.index\.fp16\.json$"
    ],
    f"{_HUB_FILES}: f'-{{SHARD}}\\\\.{{name_of_variant}}\\\\.[a-z]+$'": lambda: [
        rf"-{hub_files.SHARD}\.fp16\.[a-z]+$"
    ],
    f"{_HUB_FILES}: f'{{STEM}}\\\\.{{SUFFIX}}\\\\.{{name_of_variant}}\\\\.index\\\\.json$'": lambda: [
        rf"{hub_files.STEM}\.{hub_files.SUFFIX}\.fp16\.index\.json$"
    ],
    # diffusers' DEFAULT_SKIP_MODULES_PATTERN, which would take seconds to import.
    "plugins/diffusers/src/framegate/plugins/diffusers/loading/layerwise.py: pattern": lambda: [
        "pos_embed",
        "patch_embed",
        "norm",
        "^proj_in$",
        "^proj_out$",
    ],
}
"""How the patterns that the source computes are made, by their place."""

_ORIGINS = "adapters/cli/src/framegate/cli/config_origins.py"
OPERATORS_OWN: Mapping[str, str] = {
    "core/src/framegate/core/tables.py: //.*@": "a value of the config, in an error at start",
    rf"""{_ORIGINS}: ([A-Za-z0-9_.\"' -]+?)\s*=""": "a line of framegate.toml, in an error at start",
    r"adapters/server/src/framegate/server/mounting.py: \{[^}]*\}": "the paths of the routes, at start",
}
"""Places whose patterns see only the operator's words, each with the reason."""

PATTERNS = source_patterns()


def slow_texts(pattern: SourcePattern) -> Iterator[tuple[str, str | bytes]]:
    """Yield how a pattern is used, and the beginning of a text, wherever that is not linear."""
    assert pattern.pattern is not None
    compiled = pattern.compiled()
    texts = zip(
        *(adversarial_texts(pattern.pattern, pattern.flags, length) for length in (SHORT, LONG)), strict=True
    )
    for short, long in texts:
        for method in sorted(pattern.methods):
            reads = [partial(used_as, compiled, method, text) for text in (short, long)]
            if not is_linear(*reads):
                yield method, short[:80]


def variants(pattern: SourcePattern) -> list[SourcePattern]:
    if pattern.pattern is not None:
        return [pattern]
    made = COMPUTED[pattern.place]()
    return [
        SourcePattern(
            file=pattern.file,
            line=pattern.line,
            source=pattern.source,
            pattern=text,
            flags=pattern.flags,
            methods=pattern.methods,
        )
        for text in made
    ]


def test_patterns_are_found() -> None:
    places = [pattern.place for pattern in PATTERNS]
    assert len(places) > 60
    assert any("sora2api/prompts.py" in place for place in places)
    assert any(pattern.pattern == r"\S" for pattern in PATTERNS), "msgspec's constraints"
    computed = {pattern.place for pattern in PATTERNS if pattern.pattern is None}
    assert computed == set(COMPUTED), "say how a computed pattern is made, or give it as a constant"
    assert set(OPERATORS_OWN) <= set(places)


@pytest.mark.parametrize(
    "pattern", [each for each in PATTERNS if each.place not in OPERATORS_OWN], ids=lambda each: each.place
)
def test_a_pattern_is_linear(pattern: SourcePattern) -> None:
    for variant in variants(pattern):
        assert next(slow_texts(variant), None) is None, variant.pattern


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"\s+$", "search"),
        (r"a.*?b.*?c", "search"),
        (r"[A-Za-z]{64,}_", "search"),
        (r'"(?:\\.|[^"\\])*"', "sub"),
        (rb"x*y*z", "search"),
    ],
)
def test_a_slow_pattern_is_noticed(pattern: str | bytes, method: str) -> None:
    slow = SourcePattern(file="", line=0, source="", pattern=pattern, flags=0, methods=frozenset({method}))
    assert next(slow_texts(slow), None)
