"""Whether what every request needs, the queue and the storage, can be used right now."""

from framegate.core.concurrency import FILE_THREADS
from framegate.core.ports import ArtifactStore, JobStore, QueueCounts
from framegate.core.shared_call import SharedCall

ANSWER_SECONDS = 0.8
"""How long the queue and the storage may take to answer, so that a probe has its answer within a second."""
STORAGE_SECONDS = 5.0
"""How long the result of a look at the storage counts: it costs a write to a disk or a trip to a bucket."""


class Dependencies:
    """The queue and the storage, as probes look at them: briefly, and together."""

    def __init__(self, store: JobStore, artifacts: ArtifactStore) -> None:
        async def check_storage() -> None:
            await FILE_THREADS.run(artifacts.probe)

        self._queue: SharedCall[QueueCounts] = SharedCall(
            store.counts,
            patience=ANSWER_SECONDS,
            silent=f"The job queue hasn't answered within {ANSWER_SECONDS:g} s; try again shortly.",
        )
        self._storage: SharedCall[None] = SharedCall(
            check_storage,
            patience=ANSWER_SECONDS,
            silent=f"The storage hasn't answered within {ANSWER_SECONDS:g} s; try again shortly.",
            fresh_for=STORAGE_SECONDS,
        )

    async def check_queue(self) -> QueueCounts:
        """Return how many jobs there are of each state.

        Raises:
            Unavailable: The queue can't be reached, or doesn't answer in time.
        """
        return await self._queue.result()

    async def check_storage(self) -> None:
        """Check that files can be written.

        Raises:
            Unavailable, StorageFull: They can't; or the storage doesn't answer in time.
        """
        await self._storage.result()
