"""Make videos with sora2api's endpoints, in each of their three ways to answer.

export FRAMEGATE_URL=http://localhost:8000
export FRAMEGATE_API_KEY=…                      # if the server requires one
python sora2api.py "A white cat on a surfboard" --style anime
python sora2api.py "The cat turns its head" --image cat.png --way poll
python sora2api.py "[5.0s]A cat wakes up [5.0s]It jumps off the sofa" --storyboard --way wait
python sora2api.py "At night" --remix s_0123…
"""

import argparse
import base64
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import requests

TIMEOUT = 900


class Client:
    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def stream(self, path: str, body: dict[str, Any]) -> str:
        """Return the link to the result, showing progress while it is made."""
        content = ""
        with self._session.post(
            self._url + path, json={**body, "stream": True}, stream=True, timeout=TIMEOUT
        ) as answer:
            check(answer)
            for line in answer.iter_lines():
                if not line.startswith(b"data: ") or line == b"data: [DONE]":
                    continue
                chunk = json.loads(line.removeprefix(b"data: "))
                if "error" in chunk:
                    raise RuntimeError(chunk["error"]["message"])
                delta = chunk["choices"][0]["delta"]
                if delta["reasoning_content"]:
                    print(delta["reasoning_content"], end="", file=sys.stderr, flush=True)
                content += delta["content"] or ""
        return link_in(content)

    def wait(self, path: str, body: dict[str, Any]) -> str:
        answer = self._session.post(self._url + path, json=body, timeout=TIMEOUT)
        check(answer)
        return link_in(answer.json()["choices"][0]["message"]["content"])

    def poll(self, path: str, body: dict[str, Any]) -> str:
        answer = self._session.post(self._url + path, json={**body, "async_mode": True}, timeout=60)
        check(answer)
        task = answer.json()
        while task["status"] == "processing":
            time.sleep(0.5)
            answer = self._session.get(f"{self._url}/v1/tasks/{task['task_id']}", timeout=60)
            check(answer)
            task = answer.json()
            print(f"{task['status']}: {task['progress']:.0f} %", file=sys.stderr)
        if task["status"] == "failed":
            raise RuntimeError(task["error_message"])
        return str(task["result_urls"][0])


def check(answer: requests.Response) -> None:
    """Raise `RuntimeError` with the server's message if the answer is an error."""
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.status_code}: {answer.json()['error']['message']}")


def link_in(content: str) -> str:
    [link] = re.findall(r"https?://[^\s'\")]+", content)
    return str(link)


def request_of(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Return the path and the body."""
    body: dict[str, Any] = {"prompt": options.prompt, "model": options.model}
    if options.style:
        body["style"] = options.style
    if options.storyboard:
        return "/v1/videos/storyboard", body
    if options.remix:
        return "/v1/videos/remix", {**body, "remix_target_id": options.remix}
    if options.image:
        is_url = options.image.lower().startswith(("http://", "https://"))
        given = options.image if is_url else base64.b64encode(Path(options.image).read_bytes()).decode()
        return "/v1/videos/transform", {**body, "image": given}
    return "/v1/videos/generate", body


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a video.")
    parser.add_argument("prompt")
    parser.add_argument("--model", default="sora2-landscape-10s")
    parser.add_argument("--style", help="anime, retro, comic, …")
    parser.add_argument("--image", metavar="FILE|URL", help="an image to start from")
    parser.add_argument("--remix", metavar="ID", help="a video to start from")
    parser.add_argument("--storyboard", action="store_true", help="the prompt has several shots")
    parser.add_argument("--way", choices=["stream", "wait", "poll"], default="stream")
    parser.add_argument("--url", default=os.environ.get("FRAMEGATE_URL", "http://localhost:8000"))
    parser.add_argument("-o", "--output", type=Path, default=Path("output.mp4"))
    options = parser.parse_args()
    client = Client(options.url, os.environ.get("FRAMEGATE_API_KEY", ""))
    path, body = request_of(options)
    try:
        link = getattr(client, options.way)(path, body)
        print(link)
        video = requests.get(link, timeout=TIMEOUT)
        video.raise_for_status()
    except (OSError, RuntimeError, ValueError) as error:  # requests' errors are OSErrors
        print(f"No video: {error}", file=sys.stderr)
        return 1
    options.output.write_bytes(video.content)
    print(f"Saved {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
