"""Make a video from an image with one chat completion, print its link and save it.

export FRAMEGATE_URL=http://localhost:8000
export FRAMEGATE_API_KEY=…                      # if the server requires one
python i2v_chat.py base64 cat.png "The cat turns its head"
python i2v_chat.py url https://example.com/cat.png "The cat turns its head" --stream
"""

import argparse
import base64
import json
import mimetypes
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

TIMEOUT = 900


def image_url(mode: str, image: str) -> str:
    if mode == "url":
        return image
    kind = mimetypes.guess_type(image)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(Path(image).read_bytes()).decode()}"


def request_body(options: argparse.Namespace) -> dict[str, Any]:
    content = [
        {"type": "text", "text": options.prompt},
        {"type": "image_url", "image_url": {"url": image_url(options.mode, options.image)}},
    ]
    messages = [{"role": "user", "content": content}]
    return {"model": options.model, "messages": messages, "stream": options.stream}


def ask(url: str, key: str, body: dict[str, Any]) -> str:
    """Return the answer's text.

    Raises:
        RuntimeError: The server answered with an error; the message is its own.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with requests.post(
        f"{url.rstrip('/')}/v1/chat/completions",
        json=body,
        headers=headers,
        stream=body["stream"],
        timeout=TIMEOUT,
    ) as answer:
        if answer.status_code != 200:
            raise RuntimeError(f"{answer.status_code}: {error_of(answer)}")
        if not body["stream"]:
            return str(answer.json()["choices"][0]["message"]["content"])
        text = ""
        for delta in deltas(answer):
            if delta.get("reasoning_content"):
                print(delta["reasoning_content"], end="", file=sys.stderr, flush=True)
            text += delta.get("content") or ""
        return text


def deltas(answer: requests.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if not line.startswith(b"data: ") or line == b"data: [DONE]":
            continue
        chunk = json.loads(line.removeprefix(b"data: "))
        if "error" in chunk:
            raise RuntimeError(chunk["error"]["message"])
        yield chunk["choices"][0]["delta"]


def error_of(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:500]


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a video from an image.")
    parser.add_argument("mode", choices=["base64", "url"])
    parser.add_argument("image", help="a file, or a URL that the server fetches")
    parser.add_argument("prompt")
    parser.add_argument("--stream", action="store_true", help="show the progress")
    parser.add_argument("--model", default="ltx2_landscape")
    parser.add_argument("--url", default=os.environ.get("FRAMEGATE_URL", "http://localhost:8000"))
    parser.add_argument("-o", "--output", type=Path, default=Path("output.mp4"))
    options = parser.parse_args()
    try:
        text = ask(options.url, os.environ.get("FRAMEGATE_API_KEY", ""), request_body(options))
        [link] = re.findall(r"https?://[^\s'\"]+", text.rpartition("URL: ")[2] or text)
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
