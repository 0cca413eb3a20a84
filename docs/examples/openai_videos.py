"""Make videos with OpenAI's own SDK.

pip install openai
export FRAMEGATE_URL=http://localhost:8000
export FRAMEGATE_API_KEY=…                      # if the server requires one
python openai_videos.py "A white cat on a surfboard" --size 1280x720 --seconds 4
python openai_videos.py "The cat turns its head" --image cat.png --seed 42
python openai_videos.py "The same at night" --remix video_0123…
python openai_videos.py "In oil colours" --edit cat.mp4
python openai_videos.py "It swims back to the shore" --extend cat.mp4 --seconds 4
"""

# pyright: reportDeprecated=false
# The SDK calls this API deprecated, since OpenAI no longer hosts it.

import argparse
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from openai import OpenAI, OpenAIError
from openai.types.video import Video

warnings.filterwarnings("ignore", "The Sora API is scheduled", DeprecationWarning)


def make(client: OpenAI, options: argparse.Namespace) -> Video:
    """Return the video as it was accepted."""
    extra: dict[str, Any] = {"model": options.model} if options.model else {}
    if options.seed is not None:
        extra["seed"] = options.seed
    if options.extend:
        return client.videos.extend(
            prompt=options.prompt, video=options.extend, seconds=options.seconds or "4", extra_body=extra
        )
    if options.seconds:
        extra["seconds"] = options.seconds
    if options.size:
        extra["size"] = options.size
    if options.edit:
        return client.videos.edit(prompt=options.prompt, video=options.edit, extra_body=extra)
    if options.remix:
        return client.videos.remix(options.remix, prompt=options.prompt, extra_body=extra)
    if options.image:
        return client.videos.create(prompt=options.prompt, input_reference=options.image, extra_body=extra)
    return client.videos.create(prompt=options.prompt, extra_body=extra)


def main() -> int:
    parser = argparse.ArgumentParser(description="Make a video.")
    parser.add_argument("prompt")
    parser.add_argument("--model", help="by default sora-2, or the source video's model")
    parser.add_argument("--seconds", help="the length; for an extension, the length added")
    parser.add_argument("--size", help="such as 1280x720")
    parser.add_argument("--seed", type=int)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--image", type=Path, help="an image (or a video) to start from")
    source.add_argument("--remix", metavar="ID", help="a completed video to remix")
    source.add_argument("--edit", type=Path, metavar="FILE", help="a video to change")
    source.add_argument("--extend", type=Path, metavar="FILE", help="a video to extend")
    parser.add_argument("--url", default=os.environ.get("FRAMEGATE_URL", "http://localhost:8000"))
    parser.add_argument("-o", "--output", type=Path, default=Path("output.mp4"))
    options = parser.parse_args()
    key = os.environ.get("FRAMEGATE_API_KEY") or "none"
    try:
        with OpenAI(base_url=f"{options.url.rstrip('/')}/v1", api_key=key) as client:
            video = make(client, options)
            print(f"{video.id}: {video.size}, {video.seconds} s", file=sys.stderr)
            video = client.videos.poll(video.id)
            if video.status != "completed":
                why = video.error.message if video.error else video.status
                print(f"No video: {why}", file=sys.stderr)
                return 1
            client.videos.download_content(video.id).write_to_file(options.output)
    except (OpenAIError, OSError) as error:
        print(f"No video: {error}", file=sys.stderr)
        return 1
    print(f"Saved {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
