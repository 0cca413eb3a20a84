"""A Valkey that somebody else runs, as where several hosts share one."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import redis

from framegate.storage.embedded import find_server
from tests.support.listing import files_below
from tests.support.ports import free_port
from tests.support.running import eventually
from tests.support.server_programs import ServerProgram


class ExternalValkey:
    """Listens on loopback and keeps its data in ``folder``, which it makes.

    ``options`` are further settings; ``password`` is the default user's. With the certificates in ``tls`` it
    takes TLS alone, from clients with a certificate.
    ``environ`` is set for its process, for example a clock of its own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        environ: Mapping[str, str] | None = None,
        program: ServerProgram | None = None,
        options: Mapping[str, str] | None = None,
        password: str = "",
        tls: Path | None = None,
    ) -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir()
        self._program = program or ServerProgram(find_server())
        self._environ = {**os.environ, **self._program.environ, **(environ or {})}
        self._options = {**(options or {}), **({"requirepass": password} if password else {})}
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        if tls is not None:
            self._options |= {
                "port": "0",
                "tls-port": str(self.port),
                "tls-ca-cert-file": str(tls / "ca.pem"),
            }
            self._options |= {f"tls-{kind}-file": str(tls / f"server-{kind}.pem") for kind in ("cert", "key")}
            certificate = f"ssl_certfile={tls / 'client-cert.pem'}&ssl_keyfile={tls / 'client-key.pem'}"
            self.url = f"{self.url.replace('redis', 'rediss')}?ssl_ca_certs={tls / 'ca.pem'}&{certificate}"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            **self._options,
        }
        command = [self._program.path]
        command += [part for name, value in settings.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=self._environ)
        client = redis.Redis.from_url(self.url)
        eventually(lambda: _answers(client), what="Valkey")
        client.close()

    def kill(self) -> None:
        """Kill it with -9; also when it stands still, or has ended already."""
        self._process.kill()
        self._process.wait()

    def suspend(self) -> None:
        """Let it stand still: connections stay open and nothing answers."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def snapshot(self) -> dict[Path, bytes]:
        """Return its files as they are now."""
        return {path: path.read_bytes() for path in files_below(self.folder)}

    def restart_from(self, files: dict[Path, bytes]) -> None:
        """Start again as after a power cut: what was written since `snapshot` is lost."""
        self.kill()
        for path in files_below(self.folder):
            path.unlink()
        for path, data in files.items():
            path.write_bytes(data)
        self.start()


def cluster_options() -> Mapping[str, str]:
    """Return the options of a node in cluster mode.

    Without a port for its bus it would take one that is 10,000 higher than its own, and may not exist.
    """
    return {"cluster-enabled": "yes", "cluster-port": str(free_port())}


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:  # it isn't there yet, or still loads
        return False
