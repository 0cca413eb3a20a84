"""Forms as clients really write them, over a socket."""

import asyncio
import base64
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests

from framegate.core.ports import BytesSource
from framegate.core.testing import gradient_png
from framegate.core.types import MediaKind
from framegate.server.requests.forms import MAX_URLENCODED
from tests.support.http_stand import CONTENT, Stand, StandMaker

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
VIDEO_FORM = "/v1/tasks/video/form"
IMAGE_FORM = "/v1/tasks/image/form"


@pytest.fixture(autouse=True, scope="module")
def _real_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let results be images that can be converted to other formats."""
    with pytest.MonkeyPatch.context() as patch:
        path = gradient_png(tmp_path_factory.mktemp("images") / "result.png")
        patch.setitem(CONTENT, MediaKind.IMAGE, path.read_bytes())
        yield


@pytest.fixture
def stand(shared_stand: Stand) -> Stand:
    shared_stand.media.taken.clear()
    return shared_stand


def part(disposition: str, content: bytes | str = b"", *headers: str) -> bytes:
    """One part of a multipart body, whose ``disposition`` follows ``form-data; ``."""
    lines = [f"Content-Disposition: form-data; {disposition}", *headers]
    body = content if isinstance(content, bytes) else content.encode()
    return b"--b\r\n" + "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body + b"\r\n"


def post(stand: Stand, path: str, *parts: bytes) -> requests.Response:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return requests.post(stand.url + path, data=b"".join(parts) + b"--b--\r\n", headers=headers, timeout=10)


PROMPT = part('name="prompt"', "a boat")


@pytest.mark.parametrize(
    "file",
    [
        part('name="image_file"', PNG, "Content-Type: image/png"),
        part('name="image_file"', PNG, "Content-Type: application/octet-stream"),
        part('name="image_file"', PNG),
        part('name="image_file"', PNG, "Content-Type: text/plain"),
        part('name="image_file"; filename=""', PNG, "Content-Type: image/png"),
        part("name=\"image_file\"; filename*=UTF-8''caf%C3%A9.png", PNG),
        part("name=\"image_file\"; filename*=iso-8859-1'en'%A3%20rates.png", PNG, "Content-Type: text/plain"),
        part("name=\"image_file\"; filename*0*=UTF-8''caf; filename*1=.png", PNG),
        part("filename*=\"UTF-8''a.png\"; NAME=image_file", PNG),
        part('name="image_file"; filename="caf\xe9.png"', PNG),
        part('name="image_file"; filename="a\\"b;c.png"', PNG),
        part('name="image_file"; filename="a%22b.png"', PNG),
        part("name=image_file; filename=a.png", PNG, "Content-Type: application/octet-stream"),
        part('name="image_file"; filename="a.png"', PNG, "content-transfer-encoding: BINARY"),
        part(
            'name="image_file"; filename="a.png"',
            base64.encodebytes(PNG),
            "Content-Type: image/png",
            "Content-Transfer-Encoding: base64",
        ),
        part('name="image_file"', base64.b64encode(PNG), "Content-Transfer-Encoding: base64"),
        part('name="image_file"; filename="a.png"', PNG, f"Content-Length: {len(PNG)}"),
        part('name="image_file";\r\n filename="a.png"', PNG, "X-Other: 1"),
    ],
)
def test_each_way_to_send_a_file(stand: Stand, file: bytes) -> None:
    answer = post(stand, VIDEO_FORM, PROMPT, file)
    assert answer.status_code == 200, answer.text
    assert stand.media.taken == [BytesSource(PNG)]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/images/edits", "image"),
        ("/v1/images/edits", "image[]"),
        ("/v1/images/variations", "image"),
        ("/v1/videos", "input_reference"),
    ],
)
def test_files_without_a_name_in_openai_forms(stand: Stand, path: str, field: str) -> None:
    prompt = () if path.endswith("variations") else (PROMPT,)
    file = part(f'name="{field}"', PNG, "Content-Type: application/octet-stream")
    with stand.working():
        answer = post(stand, path, *prompt, file)
    assert answer.status_code == 200, answer.text
    assert stand.media.taken == [BytesSource(PNG)]


@pytest.mark.parametrize(
    "prompt",
    [
        part('name="prompt"', "a café", "Content-Type: text/plain"),
        part('name="prompt"', "a café", "Content-Type: text/plain; charset=utf-8"),
        part('name="prompt"', "a café", 'Content-Type: text/plain; charset="UTF-8"'),
        part('name="prompt"', "a café".encode("latin-1"), "Content-Type: text/plain; charset=ISO-8859-1"),
        part('name="prompt"', "a café".encode("utf-16"), "Content-Type: text/plain; charset=utf-16"),
        part('name="prompt"', "a café", "Content-Type: text/plain; charset=US-ASCII"),
        part('name="prompt"', "a café", "Content-Type: application/octet-stream"),
        part('name="prompt"', "a café", "Content-Type: application/json"),
        part('name="prompt"', '"a caf\\u00e9"', "Content-Type: application/json; charset=utf-8"),
        part("name=prompt", "a café", "Content-Transfer-Encoding: 8bit"),
        part('name="prompt"', "YSBjYWbD\r\nqQ==", "Content-Transfer-Encoding: base64"),
        part('name="prompt"', "a caf=C3=A9", "Content-Transfer-Encoding: quoted-printable"),
    ],
)
def test_each_way_to_send_a_text(stand: Stand, prompt: bytes) -> None:
    answer = post(stand, IMAGE_FORM, prompt)
    assert answer.status_code == 200, answer.text
    assert stand.job(answer.json()["task_id"]).shots[0].prompt == "a café"


def test_an_empty_file_field_of_a_page_is_omitted(stand: Stand) -> None:
    empty = part('name="last_frame_file"; filename=""', b"", "Content-Type: application/octet-stream")
    answer = post(stand, VIDEO_FORM, PROMPT, part('name="image_file"', PNG), empty)
    assert answer.status_code == 200, answer.text
    assert stand.media.taken == [BytesSource(PNG)]
    stand.media.taken.clear()
    named = part('name="image_file"; filename="empty.png"', b"")
    assert post(stand, VIDEO_FORM, PROMPT, named).status_code == 200
    assert stand.media.taken == [BytesSource(b"")]  # whether that is an image is not the form's to say


def test_json_parts_hold_objects_and_lists(stand: Stand) -> None:
    kind = "Content-Type: application/json"
    url = "https://example.com/a.png"
    made = post(
        stand, "/v1/videos", PROMPT, part('name="input_reference"', f'{{"image_url": "{url}"}}', kind)
    )
    assert made.status_code == 200, made.text
    assert [getattr(source, "url", None) for source in stand.media.taken] == [url]
    for value in ("null", "5", '"5"'):
        made = post(stand, "/v1/videos", PROMPT, part('name="seed"', value, kind))
        assert made.status_code == 200, made.text
        assert value == "null" or made.json()["seed"] == 5
    wrong = post(stand, "/v1/videos", PROMPT, part('name="input_reference"', "{oops", kind))
    assert wrong.status_code == 400
    assert wrong.json()["error"]["param"] == "input_reference"


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((PROMPT, part('name="image_file"', "text")), "image_file: This should be an uploaded file"),
        ((part('name="prompt"', b"\xff\xfe"),), "should be text in utf-8"),
        (
            (part('name="prompt"', "x", "Content-Type: text/plain; charset=punycode"),),
            "'punycode' is not known",
        ),
        ((part('name="prompt"', "x", "Content-Transfer-Encoding: uuencode"),), "part 1 has .*'uuencode'"),
        (
            (PROMPT, part('name="seed"', "A", "Content-Transfer-Encoding: base64")),
            "part 2 is not valid base64",
        ),
        ((PROMPT, part('name="seed"', "1", f"X-Long: {'x' * 5000}")), "headers of part 2 are too long"),
        ((PROMPT, part('name="seed"', "1", *["X: 1"] * 20)), "headers of part 2 are too long"),
        ((PROMPT.replace(b"form-data", b"attachment"),), "wrong type"),
        ((PROMPT.replace(b"\r\n", b"\n"),), "line break"),
        ((PROMPT[:-2],), "unexpected"),
    ],
)
def test_what_is_wrong_is_told(shared_stand: Stand, parts: Sequence[bytes], reason: str) -> None:
    answer = post(shared_stand, VIDEO_FORM, *parts)
    assert answer.status_code == 422
    sentences = [f"{'.'.join(item['loc'][1:])}: {item['msg']}" for item in answer.json()["detail"]]
    assert any(re.search(reason, sentence, re.IGNORECASE) for sentence in sentences), sentences


def test_a_form_without_boundary_or_end(shared_stand: Stand) -> None:
    for kind, body in (("multipart/form-data", PROMPT), ("multipart/form-data; boundary=b", PROMPT)):
        answer = requests.post(
            shared_stand.url + IMAGE_FORM, data=body, headers={"Content-Type": kind}, timeout=10
        )
        assert answer.status_code == 422
        assert "could not be parsed as a form" in answer.json()["detail"][0]["msg"]


def test_hostile_headers_cost_no_more_than_their_size(shared_stand: Stand) -> None:
    parts = [part(f"name=x{number}; y={value * 2000}") for number in range(400) for value in ('\\"', '"a')]
    answer = post(shared_stand, VIDEO_FORM, *parts)
    assert answer.status_code == 422
    assert answer.elapsed.total_seconds() < 3


@pytest.mark.parametrize("body", ["prompt=a+caf%C3%A9&seed=&size=", "prompt=a+café&seed=5"])
def test_urlencoded_forms(stand: Stand, body: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    made = requests.post(f"{stand.url}/v1/videos", data=body.encode(), headers=headers, timeout=10)
    assert made.status_code == 200, made.text
    assert made.json()["prompt"] == "a café"
    assert stand.jobs()[-1].shots[0].prompt == "a café"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"prompt=%ff", 400, "not valid UTF-8"),
        (b"prompt=\xff", 400, "not valid UTF-8"),
        (b"a=1&" * 1000, 400, "more than 1000 fields"),
        (b"prompt=" + b"%41" * (MAX_URLENCODED // 3), 413, "multipart/form-data"),
    ],
)
def test_wrong_urlencoded_forms(shared_stand: Stand, body: bytes, status: int, reason: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = requests.post(f"{shared_stand.url}/v1/videos", data=body, headers=headers, timeout=10)
    assert answer.status_code == status
    assert reason in answer.json()["error"]["message"]


def test_requests_sends_files_without_names(stand: Stand) -> None:
    files: Mapping[str, Any] = {"image_file": (None, PNG, "image/png"), "last_frame_file": (None, PNG)}
    answer = requests.post(stand.url + VIDEO_FORM, data={"prompt": "x"}, files=files, timeout=10)
    assert answer.status_code == 200, answer.text
    assert stand.media.taken == [BytesSource(PNG), BytesSource(PNG)]


def test_aiohttp_sends_files_without_names(stand: Stand) -> None:
    async def send() -> tuple[int, str]:
        form = aiohttp.FormData({"prompt": "a café"}, charset="utf-8")
        form.add_field("image_file", PNG, content_type="application/octet-stream", filename="café.png")
        form.add_field("last_frame_file", PNG, content_type="image/png", filename="")
        async with (
            aiohttp.ClientSession() as session,
            session.post(stand.url + VIDEO_FORM, data=form) as made,
        ):
            return made.status, await made.text()

    status, text = asyncio.run(send())
    assert status == 200, text
    assert stand.media.taken == [BytesSource(PNG), BytesSource(PNG)]
    assert stand.jobs()[-1].shots[0].prompt == "a café"


def test_curl_sends_a_file_from_its_input(stand: Stand, tmp_path: Path) -> None:
    (tmp_path / "frame").write_bytes(PNG)
    command = ["curl", "-sS", "-w", "%{http_code}", "-o", "answer", stand.url + VIDEO_FORM]
    fields = (
        "prompt=a café;type=text/plain",
        "image_file=@-;type=image/png;filename=",
        "last_frame_file=<frame",
    )
    for field in fields:
        command += ["-F", field]
    done = subprocess.run(command, input=PNG, capture_output=True, cwd=tmp_path, timeout=30, check=True)
    assert done.stdout == b"200", (tmp_path / "answer").read_text()
    assert stand.media.taken == [BytesSource(PNG), BytesSource(PNG)]


def test_many_small_and_one_large_upload_are_closed(make_stand: StandMaker) -> None:
    stand = make_stand(options={"lightx2v": {"unknown_fields": "refuse"}})
    large = PNG * 8000  # 2 MB: kept in a file
    small = [part(f'name="other{number}"; filename="x"', b"x") for number in range(500)]
    answer = post(stand, VIDEO_FORM, PROMPT, part('name="image_file"', large), *small)
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) == 50
    answer = post(stand, VIDEO_FORM, PROMPT, part('name="image_file"', large))
    assert answer.status_code == 200, answer.text
    assert stand.media.taken == [BytesSource(large)]
