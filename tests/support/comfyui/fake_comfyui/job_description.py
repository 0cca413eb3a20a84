"""What ``/api/jobs`` says about a prompt that has ended."""

from typing import Any


def describe_job(prompt_id: str, entry: dict[str, Any]) -> dict[str, Any]:
    number, _, prompt, extra, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    ends = [data["timestamp"] for _, data in entry["status"]["messages"]]
    status = "completed" if entry["status"]["completed"] else "failed"
    job: dict[str, Any] = {
        "id": prompt_id,
        "status": "cancelled" if "execution_interrupted" in messages else status,
        "priority": number,
        "create_time": extra["create_time"],
        "execution_start_time": ends[0],
        "execution_end_time": ends[-1],
        "outputs_count": len(entry["outputs"]),
        "preview_output": _preview(entry["outputs"]),
        "outputs": entry["outputs"],
        "execution_status": entry["status"],
        "workflow": {"prompt": prompt, "extra_data": extra},
    }
    if "execution_error" in messages:
        job["execution_error"] = messages["execution_error"]
    return job


def _preview(outputs: dict[str, Any]) -> dict[str, Any] | None:
    """Return a file if there is one, otherwise a text."""
    for node_id, ui in outputs.items():
        for media in ("images", "video", "audio", "gifs"):
            if media in ui:
                return {**ui[media][0], "nodeId": node_id, "mediaType": media}
    for node_id, ui in outputs.items():
        if "text" in ui:
            return {"content": ui["text"][0], "nodeId": node_id, "mediaType": "text"}
    return None
