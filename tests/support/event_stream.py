"""A client's view of a chat stream, which holds it to its contract while it reads."""

import json
from typing import Any, ClassVar, Literal

import requests

from tests.support.openai_types import check_chunk, check_error

_COUNTS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class Told:
    """A stream that was read to its end; ``usage`` is what its chunks have to say about usage."""

    usage: ClassVar[Literal["absent", "last chunk", "incomplete"]] = "absent"

    def __init__(self, answer: requests.Response) -> None:
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["X-Accel-Buffering"] == "no"
        lines = [line.decode() for line in answer.iter_lines()]
        assert all(line.startswith("data: ") for line in lines[::2]), lines
        assert not any(lines[1::2]), lines
        *data, done = (line.removeprefix("data: ") for line in lines[::2])
        assert done == "[DONE]"
        frames: list[dict[str, Any]] = [json.loads(text) for text in data]
        self.error: dict[str, Any] | None = check_error(frames.pop()) if "error" in frames[-1] else None
        for frame in frames:
            check_chunk(frame, incomplete_usage=self.usage == "incomplete")
        if self.usage == "last chunk" and self.error is None:
            last = frames.pop()
            assert (last["choices"], last["usage"]) == ([], _COUNTS)
            assert {**last, "choices": [], "usage": None} == {**frames[-1], "choices": [], "usage": None}
        self.frames = frames
        self.deltas: list[dict[str, Any]] = [frame["choices"][0]["delta"] for frame in frames]
        self._check()

    def _check(self) -> None:
        assert len({(frame["id"], frame["created"], frame["model"]) for frame in self.frames}) == 1
        assert self.frames[0]["id"].startswith("chatcmpl-")
        for number, (frame, delta) in enumerate(zip(self.frames, self.deltas, strict=True)):
            assert frame["object"] == "chat.completion.chunk"
            [choice] = frame["choices"]
            assert choice.keys() == {"index", "delta", "finish_reason", "native_finish_reason"}
            assert ("role" in delta) == (number == 0)
            assert delta["tool_calls"] is None
            if number == len(self.frames) - 1 and self.error is None:
                assert choice["finish_reason"] == "stop"
                assert delta["reasoning_content"] is None
                incomplete = _COUNTS
            else:
                assert choice["finish_reason"] is None
                assert delta["content"] is None
                incomplete = {"prompt_tokens": 0}
            if self.usage == "absent":
                assert "usage" not in frame
            else:
                assert frame["usage"] == (incomplete if self.usage == "incomplete" else None)

    @property
    def content(self) -> str:
        """The answer; the stream must not have failed."""
        assert self.error is None, self.error
        return str(self.deltas[-1]["content"])

    @property
    def progress(self) -> str:
        return "".join(delta["reasoning_content"] or "" for delta in self.deltas)


class ToldWithUsage(Told):
    """The same of a request with ``stream_options: {"include_usage": true}``."""

    usage = "last chunk"


class SoraTold(Told):
    """The same by sora2api's document, which has an incomplete usage in each chunk but the last."""

    usage = "incomplete"
