"""Texts on which a parser or a pattern may spend far more time than their length."""

import json
from collections.abc import Mapping
from typing import Any

from framegate.server.requests.body_limits import MAX_PLAIN
from tests.security.case import Case, Shape

LONG = 99_000
"""Characters: as many as a prompt may nearly have."""

TEXTS: Mapping[str, str] = {
    "spaces": "a" + " " * LONG + "b",
    "tabs and newlines": "a" + "\t\n" * (LONG // 2) + "b",
    "open braces": "{" * LONG,
    "empty braces": "{}" * (LONG // 2),
    "braces with spaces": ("{a " * (LONG // 3)),
    "open brackets": "[" * LONG,
    "brackets with spaces": "[" + " " * LONG,
    "brackets with digits": "[" + "1" * LONG,
    "brackets with digits and spaces": "[ 1" * (LONG // 3),
    "shots without end": "[1." * (LONG // 3),
    "shots of nothing": "[0s]" * (LONG // 4),
    "tiny shots": "[.001s]a" * (LONG // 8),
    "shots behind a long text": "c" * 90_000 + "[1s]a" * 1_000,
    "beginnings of links": "http://" * 8571 + " s_" + "0" * 32,
    "beginnings of share ids": "s_" * (LONG // 2),
    "share ids too long": "s_" + "0" * LONG,
    "many share ids": ("s_" + "0" * 32 + " ") * 2_700,
    "at signs": "@" * LONG,
    "mentions": "@a " * (LONG // 3),
    "a long mention": "@" + "a" * LONG,
    "backticks": "`" * LONG,
    "fences": "```\n" * (LONG // 4),
    "a fence with spaces": "```" + " " * LONG,
    "data URIs": "data:" * (LONG // 5),
    "combining characters": "a" + "\u0301" * LONG,
    "quotes": '"' * LONG,
    "task prompts": "### Task:" * (LONG // 9),
    "users and assistants": "user: \nassistant: \n" * (LONG // 19),
}


def _chat(text: str, model: str) -> dict[str, Any]:
    return {"model": model, "stream": False, "messages": [{"role": "user", "content": text}]}


CASES = [
    *(
        Case(
            name=f"{what} as a storyboard",
            path="/v1/videos/storyboard",
            json={"model": "small", "async_mode": True, "prompt": text},
            expect=(200, 400, 404),
            shape=Shape.OPENAI,
        )
        for what, text in TEXTS.items()
    ),
    *(
        # An unknown style is refused after the text has been read, so that nothing is made.
        Case(
            name=f"{what} in a chat with sora2api",
            path="/v1/chat/completions",
            json={**_chat(text, "small"), "style": "no-such-style"},
            expect=(400, 404),
            shape=Shape.OPENAI,
        )
        for what, text in TEXTS.items()
    ),
    *(
        Case(
            name=f"{what} in an earlier message",
            path="/v1/chat/completions",
            json={
                "model": "small",
                "style": "no-such-style",
                "messages": [
                    {"role": "system", "content": text},
                    {"role": "assistant", "content": text},
                    {"role": "user", "content": "x"},
                ],
            },
            expect=(413,) if 2 * len(json.dumps(text)) > MAX_PLAIN else (400, 404),
            shape=Shape.OPENAI,
        )
        for what, text in list(TEXTS.items())[::4]
    ),
    *(
        Case(
            name=f"{what} as {field} to {path}",
            path=path,
            json={**body, field: text},
            expect=(400, 404, 422),
            shape=shape,
        )
        for what, text in list(TEXTS.items())[::3]
        for path, field, body, shape in (
            ("/v1/videos", "size", {"prompt": "x"}, Shape.OPENAI),
            ("/v1/tasks/image", "aspect_ratio", {"prompt": "x"}, Shape.LIGHTX2V),
            ("/v1/characters/create", "timestamps", {"video": "{image}", "stream": True}, Shape.OPENAI),
            ("/v1/videos/remix", "remix_target_id", {"prompt": "x"}, Shape.OPENAI),
            ("/video/submit", "image_url", {"prompt": "A cat on a sofa"}, Shape.WAN21),
        )
    ),
]
