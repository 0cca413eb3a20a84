"""The fields that name an image or a video: what a text in them is, in every dialect alike."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import pytest
import requests

from framegate.core.ports import Base64Source, MediaSource, UrlSource
from tests.support.http_stand import Stand

Body: TypeAlias = dict[str, Any]

URL = "https://example.com/a%2Fb.png?sig=%2B&x="
DATA = "data:image/png;base64,iVBORw0KGgo="
BASE64 = "iVBORw0KGgo" + "A" * 85
SOURCES: Mapping[str, MediaSource] = {
    URL: UrlSource(URL),
    DATA: Base64Source(DATA),
    BASE64: Base64Source(BASE64),
}
PROMPT = "a boat on a lake"


class Field:
    """A field for media: where it is, how errors name it, and which kinds of texts it takes."""

    def __init__(self, path: str, name: str, body: Callable[[str], Body], *, takes: tuple[str, ...]) -> None:
        self.path = path
        self.name = name
        self.body = body
        self.takes = takes

    def __repr__(self) -> str:
        return f"{self.path}:{self.name}"

    def send(self, stand: Stand, text: str) -> requests.Response:
        return requests.post(stand.url + self.path, json=self.body(text), timeout=30)


def chat_part(text: str) -> Body:
    part = {"type": "image_url", "image_url": {"url": text}}
    content = [{"type": "text", "text": PROMPT}, part]
    return {"model": "ltx2_landscape", "messages": [{"role": "user", "content": content}]}


ANY = (URL, DATA, BASE64)
FIELDS = [
    Field(
        "/video/submit",
        "image_url",
        lambda text: {"prompt": PROMPT, "image_url": text, "model": "Wan2.2-TI2V-5B"},
        takes=(URL,),
    ),
    Field("/predict", "image_url", lambda text: {"prompt": PROMPT, "image_url": text}, takes=(URL,)),
    Field(
        "/predict",
        "image_base64",
        lambda text: {"prompt": PROMPT, "image_base64": text},
        takes=(DATA, BASE64),
    ),
    Field("/v1/videos", "image_url", lambda text: {"prompt": PROMPT, "image_url": text}, takes=ANY),
    Field(
        "/v1/videos",
        "input_reference.image_url",
        lambda text: {"prompt": PROMPT, "input_reference": {"image_url": text}},
        takes=ANY,
    ),
    Field(
        "/v1/videos/transform",
        "image",
        lambda text: {"prompt": PROMPT, "image": text, "async_mode": True},
        takes=ANY,
    ),
    Field("/v1/chat/completions", "messages", chat_part, takes=ANY),
]
BLANK_IS_NONE = [field for field in FIELDS if field.name in ("image_url", "image_base64")]


@pytest.mark.parametrize("field", FIELDS, ids=repr)
def test_blanks_around_a_text_do_not_count(stand: Stand, field: Field) -> None:
    with stand.working():
        for text in field.takes:
            for given in (text, f" {text}\n", f"\t\r\n{text} \u00a0"):
                answer = field.send(stand, given)
                assert answer.ok, answer.text
    assert stand.media.taken == [SOURCES[text] for text in field.takes for _ in range(3)]


@pytest.mark.parametrize("field", FIELDS, ids=repr)
@pytest.mark.parametrize(
    "text", [*ANY, "ftp://example.com/a.png", "cat.png", "/tmp/cat.png", "C:\\cat.png", "file-0123", "~/cat"]
)
def test_what_a_field_does_not_take_is_refused_by_its_name(
    shared_stand: Stand, field: Field, text: str
) -> None:
    if text in field.takes:
        return
    if field.name == "image_base64" and text != URL:
        shared_stand.media.break_on(text)  # whoever decodes base64 finds that it is none
    answer = field.send(shared_stand, f" {text}")
    assert answer.status_code == 400, answer.text
    assert field.name.rpartition(".")[2] in answer.text
    assert shared_stand.jobs() == []


@pytest.mark.parametrize("field", BLANK_IS_NONE, ids=repr)
@pytest.mark.parametrize("text", ["", "  ", "\n\t", None])
def test_a_blank_text_is_none(stand: Stand, field: Field, text: Any) -> None:
    with stand.working():
        assert field.send(stand, text).ok
    [job] = stand.jobs()
    assert (job.request.task.value, stand.media.taken) == ("text-to-video", [])


def test_one_of_two_images_may_be_blank(stand: Stand) -> None:
    with stand.working():
        for blank in ("", " ", None):
            for given in (
                {"image_url": URL, "image_base64": blank},
                {"image_url": blank, "image_base64": DATA},
            ):
                answer = requests.post(f"{stand.url}/predict", json={"prompt": PROMPT, **given}, timeout=30)
                assert answer.ok, answer.text
    assert stand.media.taken == [UrlSource(URL), Base64Source(DATA)] * 3


def test_the_field_that_was_given_is_named(shared_stand: Stand) -> None:
    """Not the other one, which was given as blank."""
    shared_stand.media.break_on(BASE64)
    body = {"prompt": PROMPT, "image_url": " ", "image_base64": BASE64}
    answer = requests.post(f"{shared_stand.url}/predict", json=body, timeout=30)
    assert [item["field"] for item in answer.json()["errors"]] == ["image_base64"]
    body = {"prompt": PROMPT, "image_url": "https://example.com/broken.png", "image_base64": ""}
    answer = requests.post(f"{shared_stand.url}/predict", json=body, timeout=30)
    assert [item["field"] for item in answer.json()["errors"]] == ["image_url"]


def test_a_model_that_needs_an_image_misses_a_blank_one(shared_stand: Stand) -> None:
    for blank in ("", "  ", None):
        answer = requests.post(
            f"{shared_stand.url}/video/submit", json={"prompt": PROMPT, "image_url": blank}, timeout=30
        )
        (item,) = answer.json()["detail"]
        assert (answer.status_code, item["loc"], item["type"]) == (422, ["body", "image_url"], "missing")
