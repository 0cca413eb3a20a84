"""Models that a worker leaves alone for a while, as it fails their jobs for reasons of its own.

A model that can't be loaded here would otherwise fail each job that waits, although another worker may well
run them: the broken worker is always free for the next one.
"""

import time
from collections.abc import Callable, Iterable, Mapping

import structlog
from msgspec import Struct

from framegate.core.models import ModelSpec

MAX_FAILURES = 3
"""How many jobs of a model may fail in a row before it rests."""
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 60.0, 900.0
log = structlog.get_logger(__name__)


class _Failures(Struct):
    """What went wrong with a model as it is configured, and until when it rests for that."""

    spec: ModelSpec
    count: int = 0
    rests: int = 0
    until: float = 0.0
    reason: str = ""


class RestingModels:
    """Count the failures of each model. After each rest one job is tried; a success ends the matter.

    So does another configuration of the model. ``now`` is the time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failures: dict[str, _Failures] = {}

    def note_success(self, model_id: str) -> None:
        """Note that a job of the model has succeeded."""
        self._failures.pop(model_id, None)

    def note_failure(self, spec: ModelSpec, reason: str) -> None:
        """Note that a job of the model has failed, and that neither the job nor its owner is to blame."""
        known = self._failures.get(spec.id)
        if known is None or known.spec != spec:
            known = self._failures[spec.id] = _Failures(spec)
        known.count, known.reason = known.count + 1, reason
        if known.count < MAX_FAILURES:
            return
        seconds = min(FIRST_REST_SECONDS * 2**known.rests, LONGEST_REST_SECONDS)
        known.rests, known.until = known.rests + 1, self._now() + seconds
        log.error("model_rests", model=spec.id, seconds=seconds, failures=known.count, reason=reason)

    def awake(self, specs: Mapping[str, ModelSpec]) -> Mapping[str, ModelSpec]:
        """Return those of the models that don't rest."""
        resting = self.reasons(specs.values())
        return {name: spec for name, spec in specs.items() if name not in resting} if resting else specs

    def reasons(self, specs: Iterable[ModelSpec]) -> Mapping[str, str]:
        """Return why each of the models rests that does, by its id."""
        if not self._failures:
            return {}
        now = self._now()
        return {
            spec.id: known.reason
            for spec in specs
            if (known := self._failures.get(spec.id)) and known.spec == spec and now < known.until
        }
