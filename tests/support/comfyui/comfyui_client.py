"""A ComfyUI, real or fake, as a client sees it."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from aiohttp import ClientSession, WSMsgType

from tests.support.comfyui.plain_json import is_object
from tests.support.running import eventually


class ComfyUIClient:
    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=30, **options)

    def post(self, path: str, body: object, **options: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=30, **options)

    def upload(self, file: Path, *, name: str = "", subfolder: str = "") -> dict[str, str]:
        """What ComfyUI calls it; a node's value is ``subfolder/name``."""
        with file.open("rb") as content:
            answer = requests.post(
                f"{self.url}/upload/image",
                files={"image": (name or file.name, content)},
                data={"type": "input", "subfolder": subfolder},
                timeout=30,
            )
        answer.raise_for_status()
        told: dict[str, str] = answer.json()
        return told

    def submit(self, prompt: Mapping[str, Any], client_id: str | None = "tests") -> str:
        body: dict[str, Any] = {"prompt": prompt}
        if client_id is not None:
            body["client_id"] = client_id
        answer = self.post("/prompt", body)
        assert answer.ok, answer.text
        prompt_id: str = answer.json()["prompt_id"]
        return prompt_id

    def entry(self, prompt_id: str) -> Any:
        """Its history, once it has one."""
        return eventually(
            lambda: self.get(f"/history/{prompt_id}").json().get(prompt_id), seconds=120, what="the history"
        )

    def run(self, prompt: Mapping[str, Any], client_id: str | None = "tests") -> Any:
        return self.entry(self.submit(prompt, client_id))

    def file(self, told: Mapping[str, str], **headers: str) -> requests.Response:
        return self.get("/view", params=dict(told), headers=headers)

    def has_node(self, class_type: str) -> bool:
        return bool(self.get(f"/object_info/{class_type}").json())

    async def watch(self, prompt: Mapping[str, Any], features: Mapping[str, bool] | None = None) -> list[Any]:
        """What the websocket tells of a prompt, from connecting to its end; bytes are previews. ``features``:
        what the client says that it knows."""
        told: list[Any] = []
        client_id = uuid.uuid4().hex
        async with (
            ClientSession(self.url) as session,
            session.ws_connect("/ws", params={"clientId": client_id}) as socket,
        ):
            told.append(await socket.receive_json(timeout=10))
            if features is not None:
                await socket.send_json({"type": "feature_flags", "data": features})
                told.append(await socket.receive_json(timeout=10))
            async with session.post("/prompt", json={"prompt": prompt, "client_id": client_id}) as answer:
                assert answer.ok, await answer.text()
            while not _is_end(told[-1]):
                message = await socket.receive(timeout=60)
                told.append(message.data if message.type == WSMsgType.BINARY else message.json())
        return told


def _is_end(message: object) -> bool:
    return is_object(message) and message["type"] == "executing" and message["data"]["node"] is None
