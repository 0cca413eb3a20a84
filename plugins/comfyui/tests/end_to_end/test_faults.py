"""What goes wrong around a ComfyUI, and how jobs end nevertheless."""

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import FakeComfyUI
from tests.support.comfyui.serving import (
    FOREIGN_CLIENT,
    REAL_URL,
    cancel,
    chat,
    chat_body,
    config,
    data_uri,
    difference,
    download_linked,
    failure_message,
    frames_of,
    readiness,
    show_job,
    submit,
    submit_foreign_prompts,
    task_state,
    wait_for_task,
)
from tests.support.running import RunningServer, eventually

SECRETS = {"COMFY_TOKEN": "let-me-in", "COMFY_TEAM": "a team's", "COMFY_KEY": "a query's & so on"}
SECRET_VALUES = """
headers = { X-Team = { env = "COMFY_TEAM" } }
query = { key = { env = "COMFY_KEY" } }
"""


class Stand(NamedTuple):
    comfyui: FakeComfyUI
    framegate: RunningServer


@pytest.fixture(scope="module")
def module_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    if REAL_URL:
        pytest.skip("the test would break the real ComfyUI")
    folder = tmp_path_factory.mktemp("faults")
    fake = FakeComfyUI(folder / "comfyui", token=SECRETS["COMFY_TOKEN"])
    text = config(fake.url, token="COMFY_TOKEN", connect_timeout="3")
    text = text.replace(f'url = "{fake.url}"', f'url = "{fake.url}"{SECRET_VALUES}')
    framegate = RunningServer(folder / "data", config=text, environ=SECRETS)
    yield Stand(fake, framegate.wait_until_ready())
    assert framegate.stop() == 0, framegate.log_text()
    assert not [secret for secret in SECRETS.values() if secret in framegate.log_text()]
    fake.stop()


@pytest.fixture
def stand(module_stand: Stand) -> Iterator[Stand]:
    """A fake that wants secrets and a Framegate in front of it, for tests that leave both alive."""
    yield module_stand
    module_stand.comfyui.release()
    module_stand.comfyui.allow_sockets()


@pytest.fixture
def client(stand: Stand) -> ComfyUIClient:
    """Somebody else at the same ComfyUI."""
    return ComfyUIClient(stand.comfyui.url, token=SECRETS["COMFY_TOKEN"])


@pytest.fixture(scope="module")
def image(photo: Path) -> str:
    return data_uri(photo)


def last_prompt_id(fake: FakeComfyUI) -> str:
    """Return the id of the last prompt that Framegate sent."""
    bodies = [each.body for each in fake.requests("/prompt", "POST")]
    [*_, last] = [body for body in bodies if body["client_id"] != FOREIGN_CLIENT]
    prompt_id: str = last["prompt_id"]
    return prompt_id


def succeeds(server: RunningServer, task_id: str, photo: Path) -> None:
    task = wait_for_task(server, task_id)
    assert task["status"] == "completed", task
    frames = frames_of(requests.get(task["result_urls"][0], timeout=10).content)
    assert difference(frames, photo) < 8


def test_the_websocket_drops(stand: Stand, photo: Path, image: str) -> None:
    stand.comfyui.hold("CreateVideo")
    task_id = submit(stand.framegate, "small", "a boat", image)
    stand.comfyui.wait_until_held()
    stand.comfyui.drop_sockets()
    stand.comfyui.release()
    succeeds(stand.framegate, task_id, photo)


def test_there_is_no_websocket(stand: Stand, photo: Path, image: str) -> None:
    stand.comfyui.drop_sockets(refuse=True)
    succeeds(stand.framegate, submit(stand.framegate, "small", "a boat", image), photo)


@pytest.mark.parametrize("path", ["/history", "/queue", "/object_info", "/upload", "/prompt", "/view"])
@pytest.mark.parametrize("status", [502, 0], ids=["bad gateway", "broken connection"])
def test_a_request_fails(stand: Stand, photo: Path, image: str, path: str, status: int) -> None:
    stand.comfyui.break_requests(path, status=status)
    succeeds(stand.framegate, submit(stand.framegate, "small", "a boat", image), photo)


def test_the_response_to_a_prompt_is_lost(
    stand: Stand, client: ComfyUIClient, photo: Path, image: str
) -> None:
    """ComfyUI has the prompt, but Framegate doesn't know: it must not run twice."""
    fake = stand.comfyui
    fake.hold("SaveVideo")
    submit_foreign_prompts(client, photo, 1)
    before = len(fake.prompts())
    fake.break_requests("/prompt", after=True)
    task_id = submit(stand.framegate, "small", "a boat", image)
    eventually(lambda: len(fake.prompts()) > before + 1, what="the second try")
    waiting = client.get("/queue").json()["queue_pending"]
    assert len(waiting) == 1
    fake.release()
    succeeds(stand.framegate, task_id, photo)


def test_the_queue_is_full_of_other_prompts(
    stand: Stand, client: ComfyUIClient, photo: Path, image: str
) -> None:
    fake = stand.comfyui
    fake.hold("SaveVideo")
    others = submit_foreign_prompts(client, photo, 20)
    before = len(fake.requests("/prompt", "POST"))
    task_id = submit(stand.framegate, "small", "a boat", image)
    eventually(lambda: len(fake.requests("/prompt", "POST")) > before, what="the prompt")
    fake.release()
    succeeds(stand.framegate, task_id, photo)
    assert all(client.entry(prompt_id)["status"]["completed"] for prompt_id in others)


def test_cancel_while_it_runs(stand: Stand, client: ComfyUIClient, photo: Path, image: str) -> None:
    fake = stand.comfyui
    fake.hold("CreateVideo")
    task_id = submit(stand.framegate, "small", "a boat", image)
    fake.wait_until_held()
    prompt_id = last_prompt_id(fake)
    others = submit_foreign_prompts(client, photo, 2)
    cancel(stand.framegate, task_id)
    assert client.entry(prompt_id)["status"]["messages"][-1][0] == "execution_interrupted"
    fake.release()
    assert all(client.entry(prompt_id)["status"]["completed"] for prompt_id in others)
    assert show_job(stand.framegate, task_id)["state"] == "cancelled"
    interrupts = [each.body for each in fake.requests("/interrupt")]
    assert {"prompt_id": prompt_id} in interrupts
    assert all(body and body["prompt_id"] for body in interrupts)


def test_cancel_while_it_waits(stand: Stand, client: ComfyUIClient, photo: Path, image: str) -> None:
    fake = stand.comfyui
    fake.hold("SaveVideo")
    others = submit_foreign_prompts(client, photo, 2)
    held = fake.wait_until_held()
    interrupts = len(fake.requests("/interrupt"))
    before = len(fake.requests("/prompt", "POST"))
    task_id = submit(stand.framegate, "small", "a boat", image)
    eventually(lambda: len(fake.requests("/prompt", "POST")) > before, what="the prompt")
    prompt_id = last_prompt_id(fake)
    cancel(stand.framegate, task_id)
    eventually(
        lambda: prompt_id not in [item[1] for item in client.get("/queue").json()["queue_pending"]],
        what="the prompt's end",
    )
    assert fake.wait_until_held() == held
    assert len(fake.requests("/interrupt")) == interrupts
    fake.release()
    assert all(client.entry(prompt_id)["status"]["completed"] for prompt_id in others)
    assert client.get(f"/history/{prompt_id}").json() == {}


def test_a_client_that_disconnects_cancels(stand: Stand, client: ComfyUIClient, image: str) -> None:
    fake = stand.comfyui
    fake.hold("CreateVideo")
    with closing(HTTPConnection(urlsplit(stand.framegate.url).netloc, timeout=60)) as leaving:
        leaving.request("POST", "/v1/chat/completions", json.dumps(chat_body("small", "a boat", image)))
        fake.wait_until_held()
        prompt_id = last_prompt_id(fake)
    entry = client.entry(prompt_id)
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"


def test_out_of_memory(stand: Stand, photo: Path, image: str) -> None:
    reason = "Allocation on device 0 would exceed allowed memory. (out of memory)"
    stand.comfyui.fail_node("ImageAddNoise", "torch.OutOfMemoryError", reason)
    message = failure_message(chat(stand.framegate, "small", "a boat", image))
    assert "ran out of memory" in message
    assert "ImageAddNoise" in message
    assert "smaller size" in message
    succeeds(stand.framegate, submit(stand.framegate, "small", "a boat", image), photo)


def test_a_node_fails(stand: Stand, image: str) -> None:
    reason = "cannot open '/srv/comfyui/models/vae.pt' of \"x\""
    stand.comfyui.fail_node("CreateVideo", "ValueError", reason)
    message = failure_message(chat(stand.framegate, "small", "a boat", image))
    assert "(CreateVideo)" in message
    assert "$param.fps" in message
    assert "vae.pt" in message
    assert "/srv" not in message
    assert "Traceback" not in message


def test_the_prompt_is_interrupted_on_the_server(stand: Stand, client: ComfyUIClient, image: str) -> None:
    fake = stand.comfyui
    fake.hold("CreateVideo")
    task_id = submit(stand.framegate, "small", "a boat", image)
    fake.wait_until_held()
    client.post("/interrupt", {})
    task = wait_for_task(stand.framegate, task_id)
    assert task["status"] == "failed"
    assert "interrupted" in task["error_message"]


def test_uploads_get_new_names(stand: Stand, image: str) -> None:
    download_linked(chat(stand.framegate, "small", "a boat", image))
    [*_, upload] = [each.body for each in stand.comfyui.requests("/upload/image")]
    assert upload["subfolder"] == "framegate"
    name: str = upload["image"]
    assert name.rpartition(".")[0].isalnum()
    [*_, prompt] = stand.comfyui.prompts()
    assert prompt["1"]["inputs"]["image"] == f"framegate/{name}"


def test_each_run_has_its_own_filename_prefix(stand: Stand, image: str) -> None:
    for _ in range(2):
        download_linked(chat(stand.framegate, "small", "a boat", image, seed=4))
    first, second = [prompt["6"]["inputs"]["filename_prefix"] for prompt in stand.comfyui.prompts()[-2:]]
    assert first != second
    assert first.startswith("framegate/")


def test_prompts_have_a_client_id_and_no_origin(stand: Stand, image: str) -> None:
    download_linked(chat(stand.framegate, "small", "a boat", image))
    [*_, posted] = stand.comfyui.requests("/prompt", "POST")
    assert posted.body["client_id"]
    assert all("origin" not in each.headers for each in stand.comfyui.requests())


PROMPTS = {
    "quotes": "She said \"it's 'fine'\" \\ `ok`",
    "newlines": "a boat\nat\r\nsea\tnow\n\n",
    "a marker": "$param.text, $output.video {seed} %width% $~image!",
    "JSON": '{"3": {"class_type": "SaveVideo", "inputs": {}}}, ["4", 0]',
    "a link": '["4", 0]',
    "other scripts": "镜头 – кот 🐈 \u202e e\u0301",
    "10,000 characters": "ab c\"'" * 1666 + "end.",
}


@pytest.mark.parametrize("text", PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_arrives_unchanged(stand: Stand, image: str, text: str) -> None:
    download_linked(chat(stand.framegate, "small", text, image))
    [*_, prompt] = stand.comfyui.prompts()
    assert prompt["7"]["inputs"]["value"] == text


def test_progress_is_reported(stand: Stand, image: str) -> None:
    fake = stand.comfyui
    fake.hold("SaveVideo")
    task_id = submit(stand.framegate, "small", "a boat", image)
    fake.wait_until_held()
    progress = eventually(
        lambda: progress if (progress := task_state(stand.framegate, task_id)["progress"]) > 50 else None,
        what="progress",
    )
    assert progress < 100
    fake.release()
    assert wait_for_task(stand.framegate, task_id)["progress"] == 100


def test_secrets_go_with_every_request(stand: Stand, photo: Path, image: str) -> None:
    """What a proxy may want, the websocket included."""
    succeeds(stand.framegate, submit(stand.framegate, "small", "a boat", image), photo)
    sent = [each for each in stand.comfyui.requests() if "aiohttp" in each.headers["user-agent"]]
    assert {"/ws", "/prompt", "/view", "/upload/image"} <= {each.path for each in sent}
    assert {each.headers.get("authorization") for each in sent} == {"Bearer let-me-in"}
    assert {each.headers.get("x-team") for each in sent} == {SECRETS["COMFY_TEAM"]}
    assert {each.query.get("key") for each in sent} == {SECRETS["COMFY_KEY"]}


def test_comfyui_dies_and_comes_back(stand: Stand, photo: Path, image: str) -> None:
    fake, framegate = stand
    fake.hold("CreateVideo")
    task_id = submit(framegate, "small", "a boat", image)
    fake.wait_until_held()
    fake.kill()
    eventually(lambda: readiness(framegate)[0] == "degraded", what="the finding in /status")
    assert f"127.0.0.1:{fake.port} does not respond" in readiness(framegate)[1]
    doctor = framegate.run("doctor")
    assert doctor.returncode != 0
    assert f"127.0.0.1:{fake.port} does not respond" in doctor.stdout + doctor.stderr
    assert task_state(framegate, task_id)["status"] == "processing"
    fake.start()
    succeeds(framegate, task_id, photo)
    eventually(lambda: readiness(framegate) == ("ready", ""), what="/status without a finding")
