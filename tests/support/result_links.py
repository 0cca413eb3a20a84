"""Links in the answers of the dialects that have any."""

import re
from collections.abc import Mapping
from typing import Any

import requests

from tests.support.http_stand import Stand


def links_of_all(stand: Stand, headers: Mapping[str, str]) -> dict[str, str]:
    """Make one result by each dialect that answers with links, and return the links."""

    def post(path: str, body: Any) -> Any:
        answer = requests.post(stand.url + path, json=body, headers=headers, timeout=20)
        assert answer.ok, answer.text
        return answer.json()

    photo = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    message = {"role": "user", "content": [{"type": "text", "text": "a boat"}, photo]}
    with stand.working():
        chat = post("/v1/chat/completions", {"model": "ltx2_landscape", "messages": [message]})
        sora = post("/v1/chat/completions", {"model": "sora2-landscape-10s", "messages": [message]})
        image = post("/v1/images/generations", {"prompt": "x", "response_format": "url"})
        boat = {"prompt": "a boat at dawn", "image_url": "https://example.com/a.png"}
        submitted = post("/video/submit", boat)
        while (state := post("/video/status", submitted))["status"] in ("InQueue", "InProgress"):
            pass
    contents = {
        name: made["choices"][0]["message"]["content"] for name, made in (("chat", chat), ("sora", sora))
    }
    return {
        "openai-chat": re.findall(r"https?://[^\s\"')]+", contents["chat"])[0],
        "sora2api": re.findall(r"https?://[^\s\"')]+", contents["sora"])[0],
        "openai-videos": image["data"][0]["url"],
        "wan21-submit": state["results"]["videos"][0]["url"],
    }
