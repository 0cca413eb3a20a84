"""What goes wrong around a ComfyUI, and how jobs end all the same."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import FakeComfyUI
from tests.support.comfyui.graphs import noisy_video
from tests.support.comfyui.serving import (
    ask,
    cancel,
    config,
    data_uri,
    differs,
    ended,
    frames_of,
    job,
    linked,
    ready,
    refusal,
    state,
    submit,
)
from tests.support.running import RunningServer, eventually

from .conftest import REAL_URL, StartComfyUI, StartServer


class Stand(NamedTuple):
    comfyui: FakeComfyUI
    framegate: RunningServer


@pytest.fixture(scope="module")
def whole_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    if REAL_URL:
        pytest.skip("it breaks the ComfyUI that it talks to")
    folder = tmp_path_factory.mktemp("faults")
    fake = FakeComfyUI(folder / "comfyui")
    framegate = RunningServer(folder / "data", config=config(fake.url))
    yield Stand(fake, framegate.wait_until_ready())
    assert framegate.stop() == 0, framegate.log_text()
    fake.stop()


@pytest.fixture
def stand(whole_stand: Stand) -> Iterator[Stand]:
    """A fake with a Framegate before it, for tests that leave both alive."""
    yield whole_stand
    whole_stand.comfyui.release()
    whole_stand.comfyui.allow_sockets()


@pytest.fixture(scope="module")
def image(photo: Path) -> str:
    return data_uri(photo)


def succeeds(server: RunningServer, task_id: str, photo: Path) -> None:
    task = ended(server, task_id)
    assert task["status"] == "completed", task
    frames = frames_of(requests.get(task["result_urls"][0], timeout=10).content)
    assert differs(frames, photo) < 8


def foreign_prompts(fake: FakeComfyUI, photo: Path, count: int) -> list[str]:
    """What somebody else sends to the same ComfyUI."""
    client = ComfyUIClient(fake.url)
    client.upload(photo, name="foreign.jpg")
    return [client.submit(noisy_video("foreign.jpg", seed=seed), "somebody") for seed in range(count)]


def ours(fake: FakeComfyUI) -> str:
    """The last prompt that Framegate sent."""
    [*_, last] = [each.body for each in fake.asked("/prompt", "POST") if each.body["client_id"] != "somebody"]
    prompt_id: str = last["prompt_id"]
    return prompt_id


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


def test_an_answer_to_a_prompt_is_lost(stand: Stand, photo: Path, image: str) -> None:
    """ComfyUI has it, and Framegate doesn't know: it must not be run twice."""
    fake = stand.comfyui
    fake.hold("SaveVideo")
    foreign_prompts(fake, photo, 1)
    before = len(fake.prompts())
    fake.break_requests("/prompt", after=True)
    task_id = submit(stand.framegate, "small", "a boat", image)
    eventually(lambda: len(fake.prompts()) > before + 1, what="the second try")
    waiting = ComfyUIClient(fake.url).get("/queue").json()["queue_pending"]
    assert len(waiting) == 1
    fake.release()
    succeeds(stand.framegate, task_id, photo)


def test_its_queue_is_full_of_others_work(stand: Stand, photo: Path, image: str) -> None:
    fake = stand.comfyui
    fake.hold("SaveVideo")
    others = foreign_prompts(fake, photo, 20)
    before = len(fake.asked("/prompt", "POST"))
    task_id = submit(stand.framegate, "small", "a boat", image)
    eventually(lambda: len(fake.asked("/prompt", "POST")) > before, what="the prompt")
    fake.release()
    succeeds(stand.framegate, task_id, photo)
    client = ComfyUIClient(fake.url)
    assert all(client.entry(prompt_id)["status"]["completed"] for prompt_id in others)


def test_cancel_while_it_runs(stand: Stand, photo: Path, image: str) -> None:
    fake = stand.comfyui
    fake.hold("CreateVideo")
    task_id = submit(stand.framegate, "small", "a boat", image)
    fake.wait_until_held()
    prompt_id = ours(fake)
    others = foreign_prompts(fake, photo, 2)
    cancel(stand.framegate, task_id)
    client = ComfyUIClient(fake.url)
    assert client.entry(prompt_id)["status"]["messages"][-1][0] == "execution_interrupted"
    fake.release()
    assert all(client.entry(prompt_id)["status"]["completed"] for prompt_id in others)
    assert job(stand.framegate, task_id)["state"] == "cancelled"
    told = [each.body for each in fake.asked("/interrupt")]
    assert {"prompt_id": prompt_id} in told
    assert {} not in told
    assert None not in told


def test_cancel_while_it_waits(stand: Stand, photo: Path, image: str) -> None:
    fake = stand.comfyui
    fake.hold("SaveVideo")
    others = foreign_prompts(fake, photo, 2)
    held = fake.wait_until_held()
    interrupts = len(fake.asked("/interrupt"))
    before = len(fake.asked("/prompt", "POST"))
    task_id = submit(stand.framegate, "small", "a boat", image)
    eventually(lambda: len(fake.asked("/prompt", "POST")) > before, what="the prompt")
    prompt_id = ours(fake)
    cancel(stand.framegate, task_id)
    client = ComfyUIClient(fake.url)
    eventually(
        lambda: prompt_id not in [item[1] for item in client.get("/queue").json()["queue_pending"]],
        what="the prompt's end",
    )
    assert fake.wait_until_held() == held
    assert len(fake.asked("/interrupt")) == interrupts
    fake.release()
    assert all(client.entry(prompt_id)["status"]["completed"] for prompt_id in others)
    assert client.get(f"/history/{prompt_id}").json() == {}


def test_a_client_that_goes_away_cancels(stand: Stand, image: str) -> None:
    fake = stand.comfyui
    fake.hold("CreateVideo")

    def leave() -> None:
        with pytest.raises(requests.Timeout):
            ask(stand.framegate, "small", "a boat", image, timeout=3)

    leaving = threading.Thread(target=leave)
    leaving.start()
    fake.wait_until_held()
    prompt_id = ours(fake)
    leaving.join()
    entry = ComfyUIClient(fake.url).entry(prompt_id)
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"


def test_out_of_memory(stand: Stand, photo: Path, image: str) -> None:
    message = "Allocation on device 0 would exceed allowed memory. (out of memory)"
    stand.comfyui.fail_node("ImageAddNoise", "torch.OutOfMemoryError", message)
    told = refusal(ask(stand.framegate, "small", "a boat", image))
    assert "ran out of memory" in told
    assert "ImageAddNoise" in told
    assert "smaller size" in told
    succeeds(stand.framegate, submit(stand.framegate, "small", "a boat", image), photo)


def test_a_node_fails(stand: Stand, image: str) -> None:
    message = "cannot open '/srv/comfyui/models/vae.pt' of \"x\""
    stand.comfyui.fail_node("CreateVideo", "ValueError", message)
    told = refusal(ask(stand.framegate, "small", "a boat", image))
    assert "(CreateVideo)" in told
    assert "$param.fps" in told
    assert "vae.pt" in told
    assert "/srv" not in told
    assert "Traceback" not in told


def test_somebody_interrupts_it_there(stand: Stand, image: str) -> None:
    fake = stand.comfyui
    fake.hold("CreateVideo")
    task_id = submit(stand.framegate, "small", "a boat", image)
    fake.wait_until_held()
    ComfyUIClient(fake.url).post("/interrupt", {})
    task = ended(stand.framegate, task_id)
    assert task["status"] == "failed"
    assert "interrupted" in task["error_message"]


def test_uploads_have_names_of_ours(stand: Stand, image: str) -> None:
    linked(ask(stand.framegate, "small", "a boat", image))
    [*_, upload] = [each.body for each in stand.comfyui.asked("/upload/image")]
    assert upload["subfolder"] == "framegate"
    name: str = upload["image"]
    assert name.rpartition(".")[0].isalnum()
    [*_, prompt] = stand.comfyui.prompts()
    assert prompt["1"]["inputs"]["image"] == f"framegate/{name}"


def test_files_have_names_of_the_job_s_own(stand: Stand, image: str) -> None:
    for _ in range(2):
        linked(ask(stand.framegate, "small", "a boat", image, seed=4))
    first, second = [prompt["6"]["inputs"]["filename_prefix"] for prompt in stand.comfyui.prompts()[-2:]]
    assert first != second
    assert first.startswith("framegate/")


def test_each_prompt_tells_its_client_and_no_origin(stand: Stand, image: str) -> None:
    linked(ask(stand.framegate, "small", "a boat", image))
    [*_, posted] = stand.comfyui.asked("/prompt", "POST")
    assert posted.body["client_id"]
    assert all("origin" not in each.headers for each in stand.comfyui.asked())


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
    linked(ask(stand.framegate, "small", text, image))
    [*_, prompt] = stand.comfyui.prompts()
    assert prompt["7"]["inputs"]["value"] == text


def test_progress_is_told(stand: Stand, image: str) -> None:
    fake = stand.comfyui
    fake.hold("SaveVideo")
    task_id = submit(stand.framegate, "small", "a boat", image)
    fake.wait_until_held()
    told = eventually(
        lambda: progress if (progress := state(stand.framegate, task_id)["progress"]) > 50 else None,
        what="progress",
    )
    assert told < 100
    fake.release()
    assert ended(stand.framegate, task_id)["progress"] == 100


def test_comfyui_dies_and_comes_back(
    fake: FakeComfyUI, start_server: StartServer, photo: Path, image: str
) -> None:
    framegate = start_server(config=config(fake.url))
    fake.hold("CreateVideo")
    task_id = submit(framegate, "small", "a boat", image)
    fake.wait_until_held()
    fake.kill()
    eventually(lambda: ready(framegate)[0] == "degraded", what="/ready's word of it")
    assert f"127.0.0.1:{fake.port} does not answer" in ready(framegate)[1]
    doctor = framegate.run("doctor")
    assert doctor.returncode != 0
    assert f"127.0.0.1:{fake.port} does not answer" in doctor.stdout + doctor.stderr
    assert state(framegate, task_id)["status"] == "processing"
    fake.start()
    succeeds(framegate, task_id, photo)
    eventually(lambda: ready(framegate) == ("ready", ""), what="/ready's word of it")


def test_comfyui_restarts_at_once(
    fake: FakeComfyUI, start_server: StartServer, photo: Path, image: str
) -> None:
    framegate = start_server(config=config(fake.url))
    fake.hold("CreateVideo")
    task_id = submit(framegate, "small", "a boat", image)
    fake.wait_until_held()
    fake.kill()
    fake.start()
    succeeds(framegate, task_id, photo)


def test_comfyui_dies_each_time(fake: FakeComfyUI, start_server: StartServer, image: str) -> None:
    framegate = start_server(config=config(fake.url, tries="2", connect_timeout="2"))
    task_id = ""
    for _ in range(2):
        fake.hold("CreateVideo")
        task_id = task_id or submit(framegate, "small", "a boat", image)
        fake.wait_until_held()
        fake.kill()
        fake.start()
    task = ended(framegate, task_id)
    assert task["status"] == "failed"
    assert "ended or stopped answering 2 times" in task["error_message"]


def test_jobs_fail_where_the_config_says_so(fake: FakeComfyUI, start_server: StartServer, image: str) -> None:
    framegate = start_server(config=config(fake.url, when_down='"fail"'))
    fake.kill()
    assert "No ComfyUI server answers" in refusal(ask(framegate, "small", "a boat", image))
    fake.start()


def test_a_waiting_job_is_cancelled(fake: FakeComfyUI, start_server: StartServer, image: str) -> None:
    framegate = start_server(config=config(fake.url))
    fake.kill()
    task_id = submit(framegate, "small", "a boat", image)
    eventually(lambda: job(framegate, task_id)["state"] == "running", what="the job's start")
    cancel(framegate, task_id)
    eventually(lambda: job(framegate, task_id)["state"] == "cancelled", what="its end")
    fake.start()


def test_a_graph_that_takes_too_long(fake: FakeComfyUI, start_server: StartServer, image: str) -> None:
    framegate = start_server(config=config(fake.url, run_timeout="2"))
    fake.hold("CreateVideo")
    told = refusal(ask(framegate, "small", "a boat", image))
    assert "did not finish within 2 s" in told
    assert ours(fake) in told
    entry = ComfyUIClient(fake.url).entry(ours(fake))
    assert entry["status"]["messages"][-1][0] == "execution_interrupted"


def test_a_token(start_comfyui: StartComfyUI, start_server: StartServer, photo: Path, image: str) -> None:
    fake = start_comfyui(token="let-me-in")
    options: dict[str, Any] = {"config": config(fake.url, token="COMFY_TOKEN")}
    framegate = start_server("right", environ={"COMFY_TOKEN": "let-me-in"}, **options)
    succeeds(framegate, submit(framegate, "small", "a boat", image), photo)
    assert "let-me-in" not in framegate.log_text()
    framegate.stop()
    wrong = start_server("wrong", environ={"COMFY_TOKEN": "let-us-in"}, **options)
    told = refusal(ask(wrong, "small", "a boat", image))
    assert "refuses access" in told
    assert "let-us-in" not in told + wrong.log_text()
    eventually(lambda: "refuses access" in ready(wrong)[1], what="/ready's word of it")


def test_headers_and_query_values(
    fake: FakeComfyUI, start_server: StartServer, photo: Path, image: str
) -> None:
    """What a proxy may want goes with every request, the websocket's too."""
    secrets = 'headers = { X-Key = { env = "KEY" } }\nquery = { token = { env = "TOKEN" } }\n'
    text = config(fake.url).replace(f'url = "{fake.url}"\n', f'url = "{fake.url}"\n{secrets}')
    environ = {"KEY": "a header's", "TOKEN": "a query's & so on"}
    framegate = start_server(config=text, environ=environ)
    succeeds(framegate, submit(framegate, "small", "a boat", image), photo)
    asked = fake.asked()
    assert {"/ws", "/prompt", "/view", "/upload/image"} <= {each.path for each in asked}
    assert {each.headers.get("x-key") for each in asked} == {environ["KEY"]}
    assert {each.query.get("token") for each in asked} == {environ["TOKEN"]}


def test_two_workers_use_two_servers_at_once(
    start_comfyui: StartComfyUI, start_server: StartServer, photo: Path, image: str
) -> None:
    fakes = [start_comfyui("one"), start_comfyui("other")]
    framegate = start_server(config=config(*(fake.url for fake in fakes)), arguments=["--processes", "2"])
    for fake in fakes:
        fake.hold("CreateVideo")
    tasks = [submit(framegate, "small", "a boat", image)]
    eventually(lambda: any(fake.prompts() for fake in fakes), what="the first prompt")
    tasks.append(submit(framegate, "small", "a boat", image))
    for fake in fakes:
        fake.wait_until_held()
    for fake in fakes:
        fake.release()
    for task_id in tasks:
        succeeds(framegate, task_id, photo)


def test_the_less_loaded_of_two(
    start_comfyui: StartComfyUI, start_server: StartServer, photo: Path, image: str
) -> None:
    busy, idle = start_comfyui("busy"), start_comfyui("idle")
    framegate = start_server(config=config(busy.url, idle.url))
    busy.hold()
    foreign_prompts(busy, photo, 2)
    for _ in range(3):
        succeeds(framegate, submit(framegate, "small", "a boat", image), photo)
    assert len(idle.prompts()) == 3
    idle.kill()
    busy.release()
    succeeds(framegate, submit(framegate, "small", "a boat", image), photo)
    idle.start()


def test_a_job_moves_from_a_dead_server(
    start_comfyui: StartComfyUI, start_server: StartServer, photo: Path, image: str
) -> None:
    fakes = [start_comfyui("one"), start_comfyui("other")]
    framegate = start_server(config=config(*(fake.url for fake in fakes), connect_timeout="2"))
    for fake in fakes:
        fake.hold("CreateVideo")
    task_id = submit(framegate, "small", "a boat", image)
    [chosen] = eventually(lambda: [fake for fake in fakes if fake.prompts()], what="its prompt")
    chosen.wait_until_held()
    chosen.kill()
    for fake in fakes:
        if fake is not chosen:
            fake.release()
    succeeds(framegate, task_id, photo)
    chosen.start()
