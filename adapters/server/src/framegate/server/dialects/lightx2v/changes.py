"""What was changed about a request, in the fields' names of this API. Pure."""

from collections.abc import Mapping

from framegate.core.jobs import Job
from framegate.server.responses.changes import FieldChange, field_changes

FIELDS: Mapping[str, str] = {
    "image": "image_path",
    "mask": "image_mask_path",
    "last_image": "last_frame_path",
    "video": "video_path",
    "num_inference_steps": "infer_steps",
    "duration": "video_duration",
    "num_frames": "target_video_length",
    "fps": "target_fps",
    "strength": "i2i_denoise_strength",
    "job_id": "task_id",
}
"""This API's names of the core's request fields, where they differ."""

REQUESTED_SEED = "requested_seed"
"""The label of a job whose client's seed is beyond the seeds of models."""

_MAX_DIGITS = 100


def changes_of(job: Job) -> list[FieldChange]:
    """Return the values of a job's request that its model can't take, and what was used instead."""
    changes = field_changes(job, FIELDS)
    if requested := job.labels.get(REQUESTED_SEED):
        changes.append(FieldChange("seed", requested, str(job.seed), "seeds are taken modulo 2^63"))
    return changes


def seed_label(seed: int | None, used: int | None) -> dict[str, str]:
    """Return the label that keeps a client's seed, if another one is used."""
    if seed == used:
        return {}
    digits = str(seed)
    return {REQUESTED_SEED: digits if len(digits) <= _MAX_DIGITS else digits[:_MAX_DIGITS] + "…"}
