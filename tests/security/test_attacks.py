"""Every attack of the tables, one after the other, against one server with keys."""

import pytest

from tests.security.case import Case, RawCase
from tests.security.cases import addresses, bodies, media, ownership, paths, texts, values, wire
from tests.security.conftest import Fortress

CASES = [
    *addresses.CASES,
    *bodies.CASES,
    *media.CASES,
    *ownership.CASES,
    *paths.CASES,
    *texts.CASES,
    *values.CASES,
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_attack(fortress: Fortress, case: Case) -> None:
    fortress.check(case)


@pytest.mark.parametrize("case", wire.CASES, ids=str)
def test_bytes(fortress: Fortress, case: RawCase) -> None:
    fortress.check_raw(case)


def test_the_owner_has_lost_nothing(fortress: Fortress) -> None:
    known = fortress.values
    assert fortress.as_owner("GET", f"/v1/videos/{known['video']}")["status"] == "completed"
    assert fortress.as_owner("GET", f"/v1/tasks/{known['own_task']}/status")["file_path"]
    assert fortress.as_owner("GET", f"/v1/tasks/{known['sora_task']}")["status"] == "completed"
    assert fortress.as_owner("GET", f"/v1/videos/characters/{known['character']}")["id"] == known["character"]


def test_nothing_leaked_into_the_log(fortress: Fortress) -> None:
    fortress.check_log()
