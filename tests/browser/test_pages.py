"""What a person sees in a browser."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.browser import CHROMIUM, open_page
from tests.support.running import RunningServer

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium comes from the system, not from pip")


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
