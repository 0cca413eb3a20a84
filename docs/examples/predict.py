"""Make a video with one call of ``POST /predict`` and save it.

export FRAMEGATE_URL=http://localhost:8000      # with the prefix, if the server has one
export FRAMEGATE_API_KEY=…                      # if the server requires one
python predict.py "A white cat on a surfboard" -o cat.mp4
python predict.py "The cat turns its head" --image cat.png -o turned.mp4
"""

import argparse
import base64
import os
import sys
from pathlib import Path
from typing import Any

import requests

# The server's own limit is 10 minutes; it answers with 504 then.
TIMEOUT = 660


def request_body(options: argparse.Namespace) -> dict[str, Any]:
    names = (
        "negative_prompt",
        "width",
        "height",
        "num_frames",
        "num_inference_steps",
        "guidance_scale",
        "fps",
        "seed",
    )
    body = {"prompt": options.prompt}
    body |= {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.image and options.image.lower().startswith(("http://", "https://")):
        body["image_url"] = options.image
    elif options.image:
        body["image_base64"] = base64.b64encode(Path(options.image).read_bytes()).decode()
    return body


def predict(url: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the server's answer.

    Raises:
        RuntimeError: The server answered with an error; the message is its own.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = requests.post(f"{url.rstrip('/')}/predict", json=body, headers=headers, timeout=TIMEOUT)
    if answer.status_code != 200:
        try:
            reason = answer.json()["error"]
        except (ValueError, KeyError, TypeError):
            reason = answer.text[:500]
        raise RuntimeError(f"{answer.status_code}: {reason}")
    result: dict[str, Any] = answer.json()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a video from a prompt and, optionally, an image.")
    parser.add_argument("prompt")
    parser.add_argument("--url", default=os.environ.get("FRAMEGATE_URL", "http://localhost:8000"))
    parser.add_argument("--image", metavar="FILE|URL", help="an image to start from")
    parser.add_argument("--negative-prompt")
    parser.add_argument("--width", type=int)
    parser.add_argument("--height", type=int)
    parser.add_argument("--num-frames", type=int, help="25, 29, 33, …, 121")
    parser.add_argument("--num-inference-steps", type=int)
    parser.add_argument("--guidance-scale", type=float)
    parser.add_argument("--fps", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("-o", "--output", type=Path, default=Path("output.mp4"))
    options = parser.parse_args()
    try:
        result = predict(options.url, os.environ.get("FRAMEGATE_API_KEY", ""), request_body(options))
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
        print(f"No video: {error}", file=sys.stderr)
        return 1
    options.output.write_bytes(base64.b64decode(result["video_base64"]))
    print(f"Saved {options.output}")
    for name, value in result["details"].items():
        print(f"  {name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
