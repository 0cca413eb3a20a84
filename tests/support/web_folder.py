"""A folder on the web, on loopback."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.quiet_handler import Quiet


class _Handler(Quiet, SimpleHTTPRequestHandler):
    """Serve files."""


@contextmanager
def served_folder(folder: Path) -> Generator[int]:
    """Serve the files of ``folder`` on 127.0.0.1; yield the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield web.server_address[1]
        web.shutdown()
        thread.join()
