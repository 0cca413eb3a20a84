"""How the attempts of one process are shared."""

import pytest

from framegate.core.jobs import JobState
from framegate.server.webhooks.slots import SLOTS, SLOTS_OF_A_HOST, DeliverySlots
from framegate.storage.webhook_deliveries import Delivery, Standing


def delivery(receiver: str, standing: Standing = Standing.NEW) -> Delivery:
    return Delivery(
        id="evt_1:1",
        event="evt_1",
        outcome=JobState.SUCCEEDED,
        job_id="video_1",
        created_at=1_700_000_000,
        url="https://hooks.example/",
        receiver=receiver,
        attempt=1,
        claimed_at=1_700_000_000.0,
        standing=standing,
        failures=0,
    )


def fill(slots: DeliverySlots, standing: Standing, *owners: str) -> dict[str, int]:
    """Let owners take slots in turn, each for other hosts, while they may; return how many each has taken."""
    taken = dict.fromkeys(owners, 0)
    while (occupied := slots.occupied()) and standing in occupied.owners:
        free = [owner for owner in owners if owner not in occupied.owners[standing]]
        if not free:
            break
        owner = min(free, key=taken.__getitem__)
        slots.take(delivery(f"{owner}@{owner}-{taken[owner]}:443", standing))
        taken[owner] += 1
    return taken


@pytest.mark.parametrize("standing", list(Standing))
@pytest.mark.parametrize("owners", [1, 2, 3, 7])
def test_there_is_a_slot_left_for_the_next_owner(standing: Standing, owners: int) -> None:
    slots = DeliverySlots()
    taken = fill(slots, standing, *(f"o{number}" for number in range(owners)))
    assert sum(taken.values()) < SLOTS[standing]
    assert max(taken.values()) - min(taken.values()) <= 1
    assert min(taken.values()) >= SLOTS[standing] // (owners + 1)
    occupied = slots.occupied()
    assert occupied is not None
    assert "zoe" not in occupied.owners[standing]


def test_each_standing_has_slots_of_its_own() -> None:
    slots = DeliverySlots()
    everyone = [f"o{number}" for number in range(SLOTS[Standing.NEW] + 1)]
    assert sum(fill(slots, Standing.NEW, *everyone).values()) == SLOTS[Standing.NEW]
    occupied = slots.occupied()
    assert occupied is not None
    assert occupied.owners == {Standing.PROVEN: [], Standing.FAILING: []}
    for standing in (Standing.PROVEN, Standing.FAILING):
        fill(slots, standing, *everyone)
    assert slots.occupied() is None


def test_a_host_has_slots_for_several_owners() -> None:
    slots, owners = DeliverySlots(), ("alice", "bob", "carol", "dora")
    taken = dict.fromkeys(owners, 0)
    for owner in owners:
        receiver = f"{owner}@hooks.example:443"
        while (occupied := slots.occupied()) and receiver not in occupied.receivers and not occupied.hosts:
            slots.take(delivery(receiver, Standing.PROVEN))
            taken[owner] += 1
    assert taken == {"alice": 4, "bob": 2, "carol": 1, "dora": 1}
    occupied = slots.occupied()
    assert occupied is not None
    assert occupied.hosts == ["hooks.example:443"]
    assert sum(taken.values()) == SLOTS_OF_A_HOST


def test_slots_that_are_given_back_are_free_again() -> None:
    slots = DeliverySlots()
    before = slots.occupied()
    ours = [delivery(f"alice@hooks{number % 9}.example:443", Standing.PROVEN) for number in range(30)]
    for each in ours:
        slots.take(each)
    assert slots.occupied() != before
    for each in ours:
        slots.release(each)
    assert slots.occupied() == before
