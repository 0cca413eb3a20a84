"""That the states of jobs tell what was fitted to the model, in every dialect that has room for it."""

import requests
from msgspec.structs import replace

from framegate.core.fitting import Change
from framegate.server.dialects.sora2api.tasks import task_state
from framegate.server.responses.changes import FieldChange
from tests.support.http_stand import Stand


def test_openai_videos(stand: Stand) -> None:
    url = f"{stand.url}/v1/videos"
    body = {"model": "sora-2", "prompt": "x", "size": "1281x719", "seconds": "4"}
    video = requests.post(url, json=body, timeout=10).json()
    changes = {change["field"]: change for change in video["changes"]}
    assert (changes["width"]["asked"], f"{changes['width']['used']:g}") == (1281, video["size"].split("x")[0])
    assert requests.get(f"{url}/{video['id']}", timeout=10).json()["changes"] == video["changes"]
    unchanged = requests.post(url, json={**body, "size": "1280x720"}, timeout=10).json()
    assert "changes" not in unchanged


def test_sora2api(stand: Stand) -> None:
    body = {"prompt": "x", "model": "sora2-landscape-10s", "async_mode": True}
    task_id = requests.post(f"{stand.url}/v1/videos/generate", json=body, timeout=10).json()["task_id"]
    task = requests.get(f"{stand.url}/v1/tasks/{task_id}", timeout=10).json()
    assert "changes" not in task
    # Its requests leave the size to the model's name, so a change has to be made up.
    job = replace(
        stand.job(task_id.removeprefix("task_")), changes=(Change("width", 1281, 1280, "multiples"),)
    )
    assert task_state(job, []).changes == [FieldChange("width", 1281, 1280, "multiples")]
