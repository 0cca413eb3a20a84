"""What a person sees in a browser."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.browser import needs_chromium, open_page
from tests.support.running import RunningServer

StartServer = Callable[..., RunningServer]

PAGE = """<!doctype html>
<meta charset="utf-8">
<video id="video"></video>
<p id="failure"></p>
<script>
const API_KEY = "your-api-key";
const API_URL = "%s/predict";

async function generateVideo(prompt) {
    const payload = { prompt: prompt, num_frames: 25, width: 96, height: 64 };
    try {
        const response = await fetch(API_URL, {
            method: "POST",
            headers: {
                "Authorization": `Bearer ${API_KEY}`,
                "Content-Type": "application/json"
            },
            body: JSON.stringify(payload)
        });
        const result = await response.json();
        const byteCharacters = atob(result.video_base64);
        const byteNumbers = new Array(byteCharacters.length);
        for (let i = 0; i < byteCharacters.length; i++) {
            byteNumbers[i] = byteCharacters.charCodeAt(i);
        }
        const blob = new Blob([new Uint8Array(byteNumbers)], { type: "video/mp4" });
        document.getElementById("video").src = URL.createObjectURL(blob);
    } catch (error) {
        document.getElementById("failure").textContent = `${error}`;
    }
}

generateVideo("A beautiful sunset over ocean");
</script>
"""
"""A page of somebody's own that calls the server from wherever it was opened."""

pytestmark = needs_chromium


async def test_the_page_makes_a_video_and_plays_it(
    server: RunningServer, photo: Path, tmp_path: Path
) -> None:
    async with open_page(f"{server.url}/", tmp_path / "profile") as page:
        document = await page.call("DOM.getDocument")
        field = await page.call(
            "DOM.querySelector", nodeId=document["root"]["nodeId"], selector="#image_file"
        )
        await page.call("DOM.setFileInputFiles", files=[str(photo)], nodeId=field["nodeId"])
        values = {"prompt": "Steam rises", "width": 160, "height": 96, "num_frames": 25, "seed": 7}
        for name, value in values.items():
            await page.evaluate(f"document.getElementById('{name}').value = {value!r}")
        await page.evaluate("document.getElementById('generate').click()")
        await page.until(
            "!document.getElementById('done').hidden || !document.getElementById('error').hidden"
        )
        assert await page.evaluate("document.getElementById('error').hidden")
        assert await page.until("document.getElementById('video').videoWidth") == 160
        assert await page.until("document.getElementById('video').duration") == pytest.approx(
            25 / 24, abs=0.05
        )
        assert await page.evaluate("document.getElementById('download').href.length > 0")
        assert "7" in await page.evaluate("document.getElementById('details').textContent")
        assert page.problems == []


async def test_the_page_says_what_is_wrong(server: RunningServer, tmp_path: Path) -> None:
    async with open_page(f"{server.url}/", tmp_path / "profile") as page:
        await page.evaluate("document.getElementById('prompt').value = '<img src=x onerror=alert(1)>'")
        await page.evaluate("document.getElementById('num_frames').value = 26")
        await page.evaluate("document.getElementById('generate').click()")
        await page.until("!document.getElementById('error').hidden")
        assert "Frames" in await page.evaluate("document.getElementById('error_list').textContent")
        assert await page.evaluate("document.querySelectorAll('main img').length") == 1, (
            "nothing was injected"
        )


async def test_the_api_docs_are_there_without_internet(server: RunningServer, tmp_path: Path) -> None:
    async with open_page(f"{server.url}/docs", tmp_path / "profile") as page:
        sections = "[...document.querySelectorAll('.opblock-tag')].map(tag => tag.dataset.tag)"
        await page.until(f"{sections}.length > 2")
        assert {"lightx2v", "wan22-predict"} <= set(await page.evaluate(sections))
        hosts = {urlsplit(url).netloc for url in page.requests if not url.startswith("data:")}
        assert hosts == {urlsplit(server.url).netloc}
        assert page.problems == []


async def outcome_of_a_file(url: str, folder: Path) -> str:
    """Open `PAGE` from a file; return the video's size, or the failure, that it shows in the end."""
    (folder / "index.html").write_text(PAGE % url)
    async with open_page((folder / "index.html").as_uri(), folder / "profile") as page:
        shown = await page.until(
            "document.getElementById('failure').textContent ||"
            " ((video) => video.videoWidth && `${video.videoWidth}x${video.videoHeight}`)"
            "(document.getElementById('video'))"
        )
    return str(shown)


async def test_a_page_from_a_file_may_call_where_that_is_configured(
    start_server: StartServer, tmp_path: Path
) -> None:
    allowing = start_server(config='[server]\ncors_origins = ["null"]\n')
    assert await outcome_of_a_file(allowing.url, tmp_path) == "96x64"


async def test_a_page_from_a_file_is_refused_and_the_log_says_why(
    server: RunningServer, tmp_path: Path
) -> None:
    before = len(server.log_lines())
    assert await outcome_of_a_file(server.url, tmp_path) == "TypeError: Failed to fetch"
    [line] = [line for line in server.log_lines()[before:] if line["event"] == "foreign_request_refused"]
    assert 'set cors_origins = ["null"] under [server]' in line["reason"]
