"""What requests give as input, by a stand-in for other hosts that also receives webhooks."""

import base64
import io
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import av
import numpy as np
from PIL import Image

VIDEO_FRAMES = 30


def _image(kind: str, width: int = 64, height: int = 48) -> bytes:
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    pixels = np.stack([across * 4, down * 5, (across + down) * 2], axis=-1) % 256
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def _mask() -> bytes:
    buffer = io.BytesIO()
    image = Image.new("RGBA", (64, 48), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (16, 12, 48, 36))
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _video() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(VIDEO_FRAMES):
            pixels = np.full((48, 64, 3), number * 8, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


class MediaStand:
    """An HTTP server with images and a video; what is posted to it is kept in ``received``."""

    def __init__(self) -> None:
        self.contents: Mapping[str, bytes] = {
            "png": _image("PNG"),
            "jpg": _image("JPEG"),
            "mask": _mask(),
            "large": _image("BMP", 400, 300),
            "mp4": _video(),
            "text": b"This is not an image.",
            "empty": b"",
            "broken": _image("PNG")[:60],
        }
        self.received: list[tuple[Mapping[str, str], bytes]] = []
        stand = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/").partition(".")[0]
                if name == "moved":
                    self._answer(302, b"", Location="/png.png")
                elif name in stand.contents:
                    self._answer(200, stand.contents[name])
                else:
                    self._answer(404, b"no such file")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stand.received.append((dict(self.headers), body))
                self._answer(204, b"")

            def _answer(self, status: int, data: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # its name in the base class
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def names(self) -> dict[str, str]:
        """Return what requests can refer to: ``{media}`` is the stand's URL, ``{png64}`` a file as base64."""
        encoded = {name: base64.b64encode(data).decode() for name, data in self.contents.items()}
        return {
            "media": self.url,
            "png": f"data:image/png;base64,{encoded['png']}",
            "mp4": f"data:video/mp4;base64,{encoded['mp4']}",
            **{f"{name}64": text for name, text in encoded.items()},
        }

    @contextmanager
    def running(self) -> Generator["MediaStand"]:
        """Serve in a thread of its own."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()
