"""The client of a ComfyUI, real or fake."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from aiohttp import ClientSession, WSMsgType

from framegate.plugins.comfyui.json_access import is_object
from tests.support.running import eventually


class ComfyUIClient:
    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get(
        self, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> requests.Response:
        headers = {**self._headers, **(headers or {})}
        return requests.get(self.url + path, headers=headers, timeout=30, **options)

    def post(self, path: str, body: object) -> requests.Response:
        return requests.post(self.url + path, json=body, headers=self._headers, timeout=30)

    def upload(self, file: Path, *, name: str = "", subfolder: str = "") -> dict[str, str]:
        """Upload an input file and return what ComfyUI calls it; a node's value is ``subfolder/name``."""
        with file.open("rb") as content:
            response = requests.post(
                f"{self.url}/upload/image",
                files={"image": (name or file.name, content)},
                data={"type": "input", "subfolder": subfolder},
                headers=self._headers,
                timeout=30,
            )
        response.raise_for_status()
        stored: dict[str, str] = response.json()
        return stored

    def submit(self, prompt: Mapping[str, Any], client_id: str | None = "tests") -> str:
        body: dict[str, Any] = {"prompt": prompt}
        if client_id is not None:
            body["client_id"] = client_id
        response = self.post("/prompt", body)
        assert response.ok, response.text
        prompt_id: str = response.json()["prompt_id"]
        return prompt_id

    def entry(self, prompt_id: str) -> Any:
        """Return the prompt's entry in the history, once it has one."""
        return eventually(
            lambda: self.get(f"/history/{prompt_id}").json().get(prompt_id), seconds=120, what="the history"
        )

    def run(self, prompt: Mapping[str, Any], client_id: str | None = "tests") -> Any:
        return self.entry(self.submit(prompt, client_id))

    def file(self, stored: Mapping[str, str], **headers: str) -> requests.Response:
        return self.get("/view", params=dict(stored), headers=headers)

    async def watch(self, prompt: Mapping[str, Any], features: Mapping[str, bool] | None = None) -> list[Any]:
        """Return the messages of the websocket from connecting to the prompt's end; bytes are previews.

        ``features`` are what the client announces.
        """
        messages: list[Any] = []
        client_id = uuid.uuid4().hex
        async with (
            ClientSession(self.url) as session,
            session.ws_connect("/ws", params={"clientId": client_id}) as socket,
        ):
            messages.append(await socket.receive_json(timeout=10))
            if features is not None:
                await socket.send_json({"type": "feature_flags", "data": features})
                messages.append(await socket.receive_json(timeout=10))
            async with session.post("/prompt", json={"prompt": prompt, "client_id": client_id}) as response:
                assert response.ok, await response.text()
            while not _is_end(messages[-1]):
                message = await socket.receive(timeout=60)
                messages.append(message.data if message.type == WSMsgType.BINARY else message.json())
        return messages


def _is_end(message: object) -> bool:
    return is_object(message) and message["type"] == "executing" and message["data"]["node"] is None
