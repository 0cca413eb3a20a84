"""What real workers send to Valkey, recorded so that it can be sent by a thousand simulated ones.

What a worker sends by itself is multiplied by the number of workers. What all of them together send no more
often than one would, because one is elected for it, is not: two recordings, of one worker and of several,
tell these apart.
"""

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import redis
from msgspec import Struct

from framegate.storage import scripts
from tests.support.many_models import many_models_environ, model_id
from tests.support.running import clean_environ, eventually, running_worker
from tests.support.scaling.monitor import Command, Monitor

CLIENT_NAME = "benchmark"
WORKERS = 6
"""How many real workers show what is sent by one that is elected."""
_SETTLE_SECONDS = 4.0
"""After a worker has announced itself, it still connects for a while."""
_STATE = frozenset({"AUTH", "HELLO", "CLIENT", "SELECT", "SUBSCRIBE", "PSUBSCRIBE"})
"""Commands that a client sends once for each connection."""
_SPREAD = 0.7
_SCRIPTS = {
    hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(): name
    for name, text in vars(scripts).items()
    if name.isupper() and isinstance(text, str)
}
_TOKEN = re.compile(
    rb"(?<![0-9a-f-])(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?![0-9a-f-])"
)


class Connection(Struct, frozen=True):
    """A client's connection: what prepares it, and what is then sent at which second of the recording."""

    setup: Sequence[Sequence[bytes]]
    commands: Sequence[tuple[float, Sequence[bytes]]]


class Recording(Struct, frozen=True):
    """What one worker sends in ``seconds``, and what all workers together send, which is ``shared``.

    ``worker`` is its id; ``tokens`` are all random names of its process, the id among them. ``rates`` are
    the commands of one worker in a second, by their names.
    """

    seconds: float
    worker: bytes
    tokens: frozenset[bytes]
    connections: Sequence[Connection]
    shared: Connection
    rates: dict[str, float]

    @property
    def rate(self) -> float:
        """The number of commands that one worker sends in a second."""
        return sum(len(one.commands) for one in self.connections) / self.seconds


class RealWorkers:
    """Real workers of one Valkey, which is emptied; ``folder`` is theirs."""

    def __init__(self, url: str, folder: Path, stack: ExitStack) -> None:
        self._url = url
        self._folder = folder
        self._stack = stack
        self._environ = clean_environ({**many_models_environ(folder / "plugin"), "FRAMEGATE_QUEUE__URL": url})
        self.client = redis.Redis.from_url(url, decode_responses=True, client_name=CLIENT_NAME)
        stack.callback(self.client.close)
        self.client.flushall()
        self.pids: list[int] = []

    def start(self, count: int, models: int) -> None:
        """Start that many more, each for the first ``models`` models, and wait until all are there."""
        served = ",".join(map(model_id, range(models)))
        for _ in range(count):
            log = self._folder / f"worker-{len(self.pids)}.log"
            process = self._stack.enter_context(
                running_worker(self._folder / "data", "--models", served, environ=self._environ, log=log)
            )
            self.pids.append(process.pid)
        eventually(lambda: len(self.ids()) == len(self.pids), what="all workers")
        time.sleep(_SETTLE_SECONDS)

    def ids(self) -> set[str]:
        """Return the ids of all that are there."""
        return cast("set[str]", self.client.smembers("fg:workers"))


def record(
    url: str,
    folder: Path,
    *,
    queues: int,
    seconds: float,
    occupy: Callable[[RealWorkers], None] = lambda _: None,
) -> Recording:
    """Record a worker of that many queues; ``occupy`` gives the workers what they do meanwhile."""
    with ExitStack() as stack, Monitor(url) as monitor:
        workers = RealWorkers(url, folder, stack)
        workers.start(1, queues)
        (worker,) = workers.ids()
        occupy(workers)
        alone, live = _window(monitor, workers, seconds)
        connections = [_connection(address, monitor.commands, alone, seconds) for address in sorted(live)]
        workers.start(WORKERS - 1, queues)
        occupy(workers)
        together, _ = _window(monitor, workers, seconds)
    one, many = (Counter(command.kind for command in commands) for commands in (alone, together))
    shared = {kind for kind, count in many.items() if count < _SPREAD * WORKERS * one[kind]}
    return Recording(
        seconds,
        worker.encode(),
        frozenset(token for command in alone for text in command.arguments for token in _TOKEN.findall(text)),
        [_without(shared, connection) for connection in connections],
        Connection([], _timed([command for command in together if command.kind in shared], together)),
        {_name(kind): round(count / seconds, 2) for kind, count in one.most_common()},
    )


def _name(kind: str) -> str:
    """Return the name of a kind of command for people."""
    command, _, digest = kind.partition(" ")
    return _SCRIPTS.get(digest, f"script {digest[:8]}") if digest else command


def _window(monitor: Monitor, workers: RealWorkers, seconds: float) -> tuple[Sequence[Command], set[str]]:
    """Return what the workers send within so many seconds, and the addresses of their live connections."""
    before = len(monitor.commands)
    time.sleep(seconds)
    commands = monitor.commands[before:]
    clients = workers.client.client_list()
    own = {client["addr"] for client in clients if client["name"] == CLIENT_NAME}
    live = {client["addr"] for client in clients if client["cmd"] != "monitor"} - own
    return [command for command in commands if command.address in live], live


def _connection(
    address: str, everything: Sequence[Command], window: Sequence[Command], seconds: float
) -> Connection:
    setup = [one.arguments for one in everything if one.address == address and one.kind in _STATE]
    commands = [one for one in window if one.address == address and one.kind not in _STATE]
    return Connection(setup, _timed(commands, window))


def _timed(commands: Sequence[Command], window: Sequence[Command]) -> Sequence[tuple[float, Sequence[bytes]]]:
    return [(command.at - window[0].at, command.arguments) for command in commands]


def _without(kinds: set[str], connection: Connection) -> Connection:
    kept = [
        (at, arguments)
        for at, arguments in connection.commands
        if Command(at, "", tuple(arguments)).kind not in kinds
    ]
    return Connection(connection.setup, kept)
