"""Share the attempts that one process makes at a time, so that nobody's dead receivers delay others."""

from collections import Counter

from framegate.storage.webhook_deliveries import Delivery, Occupied, Standing

SLOTS = {Standing.PROVEN: 32, Standing.NEW: 96, Standing.FAILING: 32}
"""Each standing has slots of its own: those who have answered don't wait for those who might not."""
SLOTS_OF_A_HOST = 8


class DeliverySlots:
    """Count attempts, and say who may have no further one.

    Among those that share slots, each may hold fewer than are free: half of them if it is alone, a third if
    there are two, and so on. So there is one left for the next to come.
    """

    def __init__(self) -> None:
        self._held: dict[Standing, Counter[str]] = {standing: Counter() for standing in Standing}
        """Attempts by the owner, for each standing."""
        self._receivers: Counter[str] = Counter()
        self._hosts: Counter[str] = Counter()

    def take(self, delivery: Delivery) -> None:
        """Count an attempt that begins."""
        for counter, name in self._counters(delivery):
            counter[name] += 1

    def release(self, delivery: Delivery) -> None:
        """Count an attempt that has ended."""
        for counter, name in self._counters(delivery):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    def _counters(self, delivery: Delivery) -> tuple[tuple[Counter[str], str], ...]:
        return (
            (self._held[delivery.standing], delivery.owner),
            (self._receivers, delivery.receiver),
            (self._hosts, delivery.host),
        )

    def occupied(self) -> Occupied | None:
        """Return who has no slot left, or None if nobody has."""
        owners: dict[Standing, list[str]] = {}
        for standing, held in self._held.items():
            if free := SLOTS[standing] - held.total():
                owners[standing] = [owner for owner, count in held.items() if count >= free]
        if not owners:
            return None
        return Occupied(
            owners=owners,
            receivers=[name for name, count in self._receivers.items() if count >= self._left_at(name)],
            hosts=[host for host, count in self._hosts.items() if count >= SLOTS_OF_A_HOST],
        )

    def _left_at(self, receiver: str) -> int:
        return SLOTS_OF_A_HOST - self._hosts[receiver.rpartition("@")[2]]
