"""Heartbeats of workers that have no heartbeat process."""

from framegate.storage.jobs.worker_store import LeaseStatus, RunningJob, WorkerStore


def heartbeat(
    worker: WorkerStore, job_id: str, attempt: int, progress: float | None = None, message: str = ""
) -> LeaseStatus:
    """Renew the lease of an attempt, and report how far it is (0.0–1.0)."""
    [status] = worker.heartbeat([RunningJob(job_id, attempt, progress, message)]).statuses
    return status
