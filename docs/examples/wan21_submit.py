"""Make a video through ``/video/submit``, ``/video/status`` and ``/video/cancel``, and save it.

export FRAMEGATE_URL=http://localhost:8000      # with the prefix, if the server has one
export FRAMEGATE_API_KEY=…                      # if the server requires one
python wan21_submit.py "The cat turns its head" --image https://example.com/cat.png -o turned.mp4

Ctrl-C cancels the request on the server, too.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import requests

PAUSE = 2.0


class Service:
    """Make the three calls. Every error is raised with the server's own message."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def submit(self, body: dict[str, Any]) -> str:
        """Submit a request and return its id."""
        return str(self._call("submit", body)["requestId"])

    def wait(self, request_id: str) -> dict[str, Any]:
        """Wait until a request has succeeded, and return its results."""
        shown = ""
        while True:
            answer = self._call("status", {"requestId": request_id})
            match answer["status"]:
                case "Succeed":
                    results: dict[str, Any] = answer["results"]
                    return results
                case "InQueue" | "InProgress" as status:
                    place = answer["queue_position"]
                    words = f"{status} ({place})" if place else status
                    if words != shown:
                        shown = words
                        print(words)
                    time.sleep(PAUSE)
                case status:
                    raise RuntimeError(f"{status}: {answer['reason']}")

    def cancel(self, request_id: str) -> None:
        self._call("cancel", {"requestId": request_id})

    def _call(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = requests.post(f"{self._url}/video/{name}", json=body, headers=self._headers, timeout=60)
        if not answer.ok:
            raise RuntimeError(f"{answer.status_code}: {_reason(answer)}")
        result: dict[str, Any] = answer.json()
        return result


def _reason(answer: requests.Response) -> str:
    try:
        detail: Any = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        detail = answer.text[:500]
    if isinstance(detail, str):  # not an answer of this API
        hint = " (does FRAMEGATE_URL have the server's prefix?)" if answer.status_code in (404, 405) else ""
        return detail + hint
    if answer.status_code == 422:
        return "; ".join(f"{'.'.join(map(str, item['loc'][1:]))}: {item['msg']}" for item in detail)
    return str(detail["reason"])


def request_body(options: argparse.Namespace) -> dict[str, Any]:
    names = ("model", "negative_prompt", "image_size", "num_frames", "guidance_scale", "infer_steps", "seed")
    body = {"prompt": options.prompt, "image_url": options.image}
    body |= {name: getattr(options, name) for name in names}
    return {name: value for name, value in body.items() if value is not None}


def make(service: Service, body: dict[str, Any], output: Path) -> None:
    request_id = service.submit(body)
    try:
        results = service.wait(request_id)
    except KeyboardInterrupt:
        service.cancel(request_id)
        raise
    video = requests.get(results["videos"][0]["url"], timeout=60)
    video.raise_for_status()
    output.write_bytes(video.content)
    print(f"Saved {output}\n  seed: {results['seed']}\n  seconds: {results['timings']['inference']}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a video from an image and a prompt.")
    parser.add_argument("prompt", help="10 to 500 characters")
    parser.add_argument("--url", default=os.environ.get("FRAMEGATE_URL", "http://localhost:8000"))
    parser.add_argument("--image", metavar="URL", help="the image; optional for text-to-video models")
    parser.add_argument("--model")
    parser.add_argument("--negative-prompt")
    parser.add_argument("--image-size", choices=("480x832", "832x480", "auto"))
    parser.add_argument("--num-frames", type=int, help="24 to 120")
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--infer-steps", type=int, help="20 to 100")
    parser.add_argument("--seed", type=int)
    parser.add_argument("-o", "--output", type=Path, default=Path("output.mp4"))
    options = parser.parse_args()
    service = Service(options.url, os.environ.get("FRAMEGATE_API_KEY", ""))
    try:
        make(service, request_body(options), options.output)
    except KeyboardInterrupt:
        print("Cancelled.", file=sys.stderr)
        return 130
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
        print(f"No video: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
