"""The fake responds as a real server did when it was recorded: the same requests, compared field by field."""

import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import ClientSession, ClientWebSocketResponse

from framegate.plugins.comfyui.json_access import is_array, is_object
from tests.support.comfyui.comfyui_client import ComfyUIClient
from tests.support.comfyui.fake_comfyui.process import FakeComfyUI
from tests.support.comfyui.graphs import Graph, noisy_video, with_inputs, without
from tests.support.comfyui.recordings import read_recording
from tests.support.comfyui.serving import StartComfyUI

CLOCK = {"timestamp", "create_time", "execution_start_time", "execution_end_time"}
SETS = {"executed", "current_outputs", "nodes"}
WORDS = {"tooltip", "dynamicPrompts", "display", "description", "display_name", "search_aliases", "category"}
PLACES = {"python_module", "essentials_category", "output_tooltips", "display_name"}


def settled(value: object, key: str = "") -> Any:
    """Replace what differs from run to run: clocks, the order of sets, tracebacks."""
    if key in CLOCK:
        assert isinstance(value, int)
        return "clock"
    if key == "traceback":
        assert is_array(value)
        assert all(isinstance(line, str) for line in value)
        return "traceback"
    if key == "nodes" and is_object(value):
        return {name: settled(each) for name, each in value.items()}
    if key in SETS and is_array(value):
        return sorted(value)
    if is_object(value):
        return {name: settled(each, name) for name, each in value.items() if name != "tooltip"}
    if is_array(value):
        items = [settled(each) for each in value]
        return sorted(items) if items and all(each in ("6", "8") for each in items) else items
    if isinstance(value, str):
        value = re.sub(r"_\d{5}_\.", "_NNNNN_.", value)
        value = re.sub(r"^<.* object( at .*)?>$", "an object", value)
        return re.sub(r"'avcodec_open2.*", "avcodec_open2", value, flags=re.DOTALL)
    return [type(value).__name__, value]


class Session:
    """Prompts one after the other, with the ids and the requests of the recording."""

    def __init__(self, fake: FakeComfyUI, socket: ClientWebSocketResponse, session: ClientSession) -> None:
        self._fake = fake
        self._socket = socket
        self._session = session

    async def get(self, path: str) -> Any:
        async with self._session.get(path) as response:
            return await response.json()

    async def messages(self) -> list[Any]:
        """Return what the websocket sends until the prompt has ended."""
        messages: list[Any] = []
        while not messages or messages[-1]["data"].get("node", "") is not None:
            messages.append(await self._socket.receive_json(timeout=30))
        return messages

    async def check(self, name: str, graph: Graph, meanwhile: Callable[[str], None] | None = None) -> None:
        prompt_id = read_recording(f"prompt_{name}")["body"]["prompt_id"]
        body = {"prompt": graph, "client_id": CLIENT_ID, "prompt_id": prompt_id}
        runs = name not in {"success_fully_cached", "partial_node_errors_200"}
        if runs:
            self._fake.hold()
        async with self._session.post("/prompt", json=body) as response:
            assert settled(await response.json()) == settled(read_recording(f"prompt_{name}")["body"])
        if runs:
            self._fake.wait_until_held()
            queue = await self.get("/queue")
            assert settled(queue) == settled(read_recording(f"queue_during_{name}")["body"])
            assert await self.get(f"/history/{prompt_id}") == {}
            if meanwhile is None:
                self._fake.release()
            else:
                meanwhile(prompt_id)
        assert settled(await self.messages()) == settled(read_recording(f"ws_{name}"))
        history = await self.get(f"/history/{prompt_id}")
        assert settled(history) == settled(read_recording(f"history_{name}")["body"])
        job = await self.get(f"/api/jobs/{prompt_id}")
        assert settled(job) == settled(read_recording(f"job_{name}")["body"])


CLIENT_ID = read_recording("ws_success")[0]["data"]["sid"]


@asynccontextmanager
async def connected(fake: FakeComfyUI) -> AsyncGenerator[Session]:
    async with (
        ClientSession(fake.url) as session,
        session.ws_connect("/ws", params={"clientId": CLIENT_ID}) as socket,
    ):
        yield Session(fake, socket, session)


async def test_prompts(start_comfyui: StartComfyUI, photo: Path) -> None:
    fake = start_comfyui()
    upload = ComfyUIClient(fake.url).upload(photo, name="fx.png", subfolder="lx")
    assert upload == read_recording("upload_image")["body"]

    def interrupt_at_create_video(prompt_id: str) -> None:
        fake.hold("CreateVideo")
        fake.release("*")
        assert fake.wait_until_held().class_type == "CreateVideo"
        response = requests.post(f"{fake.url}/interrupt", json={"prompt_id": prompt_id}, timeout=30)
        assert (response.status_code, response.text) == (200, read_recording("interrupt")["body"])
        fake.release()

    def recorded_graph(*, width: int = 640, height: int = 352, amount: int = 25, seed: int = 1234) -> Graph:
        text = "镜头 a cute cat"
        return noisy_video("lx/fx.png", text=text, width=width, height=height, amount=amount, seed=seed)

    async with connected(fake) as session:
        graph = recorded_graph()
        await session.check("success", graph)
        await session.check("success_fully_cached", graph)
        await session.check("execution_error", recorded_graph(width=641, height=353))
        await session.check("interrupted", recorded_graph(amount=120, seed=9), interrupt_at_create_video)
        await session.check("partial_node_errors_200", with_inputs(graph, "6", codec="vp9"))


def refusals() -> Mapping[str, Any]:
    graph = noisy_video("missing.png")
    return {
        "prompt_400_invalid_image": {"prompt": without(graph, "7", "8")},
        "prompt_400_missing_node_type": {
            "prompt": {**graph, "2": {**graph["2"], "class_type": "NotInstalled"}}
        },
        "prompt_400_no_outputs": {"prompt": without(graph, "6", "8")},
        "prompt_400_no_prompt": {"client_id": "x"},
    }


@pytest.mark.parametrize("name", refusals())
def test_refused_prompts(recorded_fake: ComfyUIClient, name: str) -> None:
    expected = read_recording(name)
    response = recorded_fake.post("/prompt", refusals()[name])
    assert (response.status_code, response.headers["Content-Type"]) == (400, expected["content_type"])
    body = json.loads(json.dumps(expected["body"]).replace("VHS_VideoCombine", "NotInstalled"))
    assert response.json() == body


@pytest.mark.parametrize("body", [b"{", b'{"prompt": [1]}', b'{"prompt": {"last_node_id": 9, "nodes": []}}'])
def test_bodies_without_a_graph(recorded_fake: ComfyUIClient, body: bytes) -> None:
    expected = read_recording("prompt_500_bad_json")
    response = requests.post(f"{recorded_fake.url}/prompt", data=body, timeout=30)
    assert (response.status_code, response.headers["Content-Type"]) == (500, expected["content_type"])
    assert response.text == expected["body"]


@pytest.mark.parametrize("name", ["history_unknown", "job_unknown"])
def test_unknown_prompts(recorded_fake: ComfyUIClient, name: str) -> None:
    expected = read_recording(name)
    response = recorded_fake.get(expected["request"]["path"])
    assert (response.status_code, response.json()) == (expected["status"], expected["body"])


@pytest.mark.parametrize("name", ["features", "system_stats"])
def test_about_the_server(recorded_fake: ComfyUIClient, name: str) -> None:
    def kinds(value: object) -> Any:
        if is_object(value):
            return {key: kinds(each) for key, each in value.items()}
        if is_array(value):
            return [kinds(value[0])] if value else []
        return type(value)

    assert kinds(recorded_fake.get(f"/{name}").json()) == kinds(read_recording(name)["body"])


@pytest.mark.parametrize(
    "class_type", ["CLIPTextEncode", "CreateVideo", "ImageAddNoise", "LoadImage", "RandomNoise", "SaveVideo"]
)
def test_object_info(recorded_fake: ComfyUIClient, class_type: str) -> None:
    def bare(value: object) -> Any:
        if is_object(value):
            return {key: bare(each) for key, each in value.items() if key not in WORDS | PLACES}
        return [bare(each) for each in value] if is_array(value) else value

    expected = read_recording(f"object_info_{class_type}")["body"]
    if class_type == "LoadImage":
        expected["LoadImage"]["input"]["required"]["image"][0] = []  # the files that were there
    assert bare(recorded_fake.get(f"/object_info/{class_type}").json()) == bare(expected)
    assert bare(recorded_fake.get("/api/object_info").json()[class_type]) == bare(expected[class_type])


@pytest.fixture(scope="module")
def recorded_fake(tmp_path_factory: pytest.TempPathFactory) -> Any:
    fake = FakeComfyUI(tmp_path_factory.mktemp("recorded"))
    yield ComfyUIClient(fake.url)
    fake.stop()


def test_an_unknown_class(recorded_fake: ComfyUIClient) -> None:
    assert recorded_fake.get("/object_info/NotInstalled").json() == {}


def test_later_versions_cancel_a_job_by_its_id(start_comfyui: StartComfyUI, photo: Path) -> None:
    for newer in (False, True):
        fake = start_comfyui(f"newer-{newer}", newer=newer)
        client = ComfyUIClient(fake.url)
        client.upload(photo, name="a.jpg")
        fake.hold("CreateVideo")
        ids = [client.submit(noisy_video("a.jpg", seed=seed)) for seed in range(2)]
        fake.wait_until_held()
        responses = [
            client.post(f"/api/jobs/{prompt_id}/cancel", {}) for prompt_id in (ids[1], ids[1], ids[0])
        ]
        if newer:
            assert [response.json()["cancelled"] for response in responses] == [True, False, True]
            assert client.entry(ids[0])["status"]["status_str"] == "error"
        else:
            assert {response.status_code for response in responses} == {405}
