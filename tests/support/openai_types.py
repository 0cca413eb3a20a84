"""Hold answers to the strict types of OpenAI's own SDK."""

from typing import Any, TypeVar

from openai.types import ErrorObject, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

Checked = TypeVar("Checked", bound=BaseModel)


def strictly(model: type[Checked], body: Any) -> Checked:
    """Return ``body`` as the SDK's ``model``; it must fit without any conversion."""
    return model.model_validate(body, strict=True)


def check_chunk(frame: Any, *, incomplete_usage: bool = False) -> None:
    """Check a chunk of a stream; ``incomplete_usage`` is sora2api's, which is no usage of OpenAI's."""
    if incomplete_usage:
        frame = {key: value for key, value in frame.items() if key != "usage"}
    strictly(ChatCompletionChunk, frame)


def check_completion(body: Any) -> ChatCompletion:
    """Check a completion, and return it."""
    completion = strictly(ChatCompletion, body)
    assert completion.usage is not None
    return completion


def check_models(body: Any) -> None:
    """Check a list of models."""
    assert body["object"] == "list"
    for item in body["data"]:
        strictly(Model, item)


def check_error(body: Any) -> dict[str, Any]:
    """Check the body of an error, and return the error."""
    assert body.keys() == {"error"}, body
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    strictly(ErrorObject, error)
    return error
