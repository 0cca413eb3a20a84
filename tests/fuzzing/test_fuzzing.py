"""The same few inputs for each target in every run, and every one that fuzzing has ever found."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzzing.seeds import CORPUS, WORDS, seeds
from tests.fuzzing.strategies import inputs
from tests.fuzzing.targets import TARGETS

EXAMPLES = {"image": 60, "video": 40, "workflow": 60}
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


def test_every_target_has_its_seeds() -> None:
    assert TARGETS.keys() == seeds().keys() == WORDS.keys()
    assert {path.parent.name for path in FOUND} <= TARGETS.keys()


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target: str) -> None:
    for seed in seeds()[target]:
        TARGETS[target](seed)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_found(path: Path) -> None:
    started = time.process_time()
    TARGETS[path.parent.name](path.read_bytes())
    assert time.process_time() - started < 5


@pytest.mark.parametrize("target", TARGETS)
def test_fuzzed(target: str) -> None:
    @settings(
        max_examples=EXAMPLES.get(target, 250),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=CHECKS,
    )
    @given(data=inputs(target))
    def feed(data: bytes) -> None:
        TARGETS[target](data)

    feed()


@pytest.mark.parametrize(
    "target", ["prompt", "style", "url", "media-text", "json", "forwarded", "urlencoded"]
)
def test_long_repetitions_are_linear(target: str) -> None:
    """A word that is repeated to 95 kB takes a second at most: anything quadratic takes many."""

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=CHECKS,
    )
    @given(words=st.lists(st.sampled_from(WORDS[target]), min_size=1, max_size=3).map(b"".join))
    def feed(words: bytes) -> None:
        started = time.process_time()
        TARGETS[target](words * (95_000 // len(words)))
        assert time.process_time() - started < 1.0, words

    feed()
