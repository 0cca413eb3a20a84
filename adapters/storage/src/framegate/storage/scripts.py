"""The Lua scripts, each an atomic change of what Valkey holds, read once from ``lua/``.

A store registers those that it needs with its client when it is made; redis-py then calls them by digest.
`framegate.core.testing.transitions`, `framegate.core.testing.scheduling` and
`framegate.core.testing.idempotency` are the reference model of what the scripts do to jobs.
"""

from collections.abc import Sequence
from importlib.resources import files

_LUA = files("framegate.storage") / "lua"
_JOBS = ("clock", "json", "quotas", "usage", "lanes", "operations", "webhooks", "idempotency", "jobs")
_QUEUES = (*_JOBS, "scheduling", "index_repair")
_PRESENCE = ("clock", "json", "presence")
_LOADS = ("clock", "json", "loads")
_EXPIRY = ("clock", "expiry")
_CHARACTERS = ("clock", "json", "quotas", "characters")
_DELIVERIES = ("clock", "json", "deliveries")


def _script(name: str, libraries: Sequence[str] = ()) -> str:
    """Return the text of ``lua/NAME.lua`` after that of the ``libraries`` whose functions it calls."""
    return "\n".join((_LUA / f"{part}.lua").read_text(encoding="utf-8") for part in (*libraries, name))


ALL = tuple(part.read_text(encoding="utf-8") for part in _LUA.iterdir() if part.name.endswith(".lua"))
"""The text of every file there."""

PROBE = _script("probe", ("clock",))
CHECK_ADMISSION = _script("check_admission", _JOBS)
SUBMIT = _script("submit", _JOBS)
COUNT_REFUSAL = _script("count_refusal", _JOBS)
CLAIM = _script("claim", (*_QUEUES, "claiming"))
FINISH = _script("finish", (*_QUEUES, "claiming"))
CANCEL = _script("cancel", _JOBS)
DELETE = _script("delete", _JOBS)
QUEUE_POSITION = _script("queue_position", _JOBS)
SWEEP = _script("sweep", (*_QUEUES, "presence", "sweeping", "old_tickets"))
DELETE_RECORD = _script("delete_record", _JOBS)
REFRESH_JOBS = _script("refresh_jobs")
SCAN_JOBS = _script("scan_jobs")
PAGE_JOBS = _script("page_jobs")
DROP_MISSING = _script("drop_missing", _JOBS)
MARK_FILES_REMOVED = _script("mark_files_removed", _JOBS)
STORED_BYTES = _script("stored_bytes", ("clock", "json", "quotas"))
LEASE_EXPIRED_JOBS = _script("lease_expired_jobs", (*_JOBS, "expiry"))
LEASE_EXPIRED_CHARACTERS = _script("lease_expired_characters", _EXPIRY)
HEARTBEAT = _script("heartbeat", (*_PRESENCE, "sweeping"))
WITHDRAW = _script("withdraw", (*_PRESENCE, "loads"))
WORKER_PRESENCE = _script("worker_presence", _PRESENCE)
ADD_CHARACTER = _script("add_character", _CHARACTERS)
CHECK_CHARACTER = _script("check_character", _CHARACTERS)
DROP_DAMAGED_CHARACTER = _script("drop_damaged_character", ("clock",))
DELETE_CHARACTER = _script("delete_character", _CHARACTERS)
INDEX_CHARACTERS = _script("index_characters", _CHARACTERS)
PAUSE_MODEL = _script("pause_model", _JOBS)
DRAIN_WORKER = _script("drain_worker", ("clock",))
REQUEST_MODEL = _script("request_model", _LOADS)
BEGIN_LOAD = _script("begin_load", _LOADS)
END_LOAD = _script("end_load", _LOADS)
LEASE_RATE = _script("lease_rate", ("clock",))
CHANGE_KEY = _script("change_key", ("clock",))
CLAIM_DELIVERY = _script("claim_delivery", _DELIVERIES)
SETTLE_DELIVERY = _script("settle_delivery", _DELIVERIES)
