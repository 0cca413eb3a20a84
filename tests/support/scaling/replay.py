"""A thousand simulated workers: each sends what a real one was recorded to send, over connections of its own.

A command follows the one before it on its connection after the recorded pause, but never before that one's
reply; of what is late, no more than a second's is made up for. They run in a process of their own, which only
copies bytes, so that they disturb little.
"""

import bisect
import hashlib
import heapq
import multiprocessing
import random
import resource
import selectors
import socket
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection as Pipe
from urllib.parse import urlsplit

from msgspec import Struct

from tests.support.scaling.recording import Connection, Recording

RECORDED_JOB = b"job-000000000"
"""The id of the job that recorded workers run; those of simulated ones are as long."""
_ANSWERED_WITHIN = 0.005
_MADE_UP_FOR = 1.0


class Sent(Struct, frozen=True):
    """How many commands were sent in a while, and how many of these waited for the reply before them."""

    commands: int
    late: int


class SimulatedWorkers:
    """The process of the simulated workers, as the benchmark sees it."""

    def __init__(self, recording: Recording, pipe: Pipe) -> None:
        self._recording = recording
        self._pipe = pipe

    def id(self, number: int) -> str:
        """Return the id of a worker."""
        return renamed(self._recording.worker, number).decode()

    def run_job(self, number: int, job_id: str) -> None:
        """Let a worker renew the lease of that job from now on, instead of its job before."""
        assert len(job_id) == len(RECORDED_JOB)
        self._pipe.send((number, job_id))

    def sent(self) -> Sent:
        """Return what was sent since the last call."""
        self._pipe.send(None)
        found = self._pipe.recv()
        assert isinstance(found, Sent)
        return found


@contextmanager
def simulated_workers(url: str, recording: Recording, number: int) -> Generator[SimulatedWorkers]:
    """Run that many simulated workers."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(url, recording, number, theirs), daemon=True)
    process.start()
    try:
        assert ours.recv() == "ready"
        yield SimulatedWorkers(recording, ours)
    finally:
        process.terminate()
        process.join()


def renamed(token: bytes, number: int) -> bytes:
    """Return what a simulated worker has instead of a random name of the recorded one, of the same form."""
    digest = hashlib.sha256(b"%b %d" % (token, number)).hexdigest()
    return b"".join(
        b"-" if character == ord("-") else digest[place].encode()
        for place, character in zip(range(len(token)), token, strict=True)
    )


class _Client:
    """One connection of a simulated worker."""

    def __init__(
        self, address: tuple[str, int], recorded: Connection, names: dict[bytes, bytes], period: float
    ) -> None:
        self.names = names
        self._commands = [(at, encoded(arguments)) for at, arguments in recorded.commands]
        self._period = period
        self._next = 0
        self._socket = socket.create_connection(address)
        for arguments in recorded.setup:
            self._socket.sendall(self._own(encoded(arguments)))
            self._socket.recv(1 << 16)
        self._socket.setblocking(False)
        self.waiting = self.overdue = False
        self.due = 0.0

    @property
    def silent(self) -> bool:
        """Whether it sends nothing."""
        return not self._commands

    def fileno(self) -> int:
        return self._socket.fileno()

    def begin(self, now: float, phase: float) -> None:
        """Begin in the middle of the recording, after so many of its seconds."""
        times = [at for at, _ in self._commands]
        following = bisect.bisect(times, phase)
        self._next = following % len(times)
        self.due = now + times[self._next] - phase + (self._period if following == len(times) else 0.0)

    def send(self) -> None:
        """Send the next command, and find out when the one after that is due."""
        at, command = self._commands[self._next]
        self._next = (self._next + 1) % len(self._commands)
        self._socket.send(self._own(command))
        self.waiting, self.overdue = True, False
        after = self._commands[self._next][0]
        pause = after - at if self._next else after + self._period - at
        self.due = max(self.due + pause, time.monotonic() - _MADE_UP_FOR)

    def receive(self) -> None:
        """Take what has come."""
        if not self._socket.recv(1 << 16):
            raise ConnectionError("Valkey has closed a connection of a simulated worker")
        self.waiting = False

    def _own(self, command: bytes) -> bytes:
        for recorded, own in self.names.items():
            command = command.replace(recorded, own)
        return command


def encoded(arguments: Sequence[bytes]) -> bytes:
    """Return a command as it is sent."""
    parts = [b"*%d\r\n" % len(arguments)]
    parts += [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments]
    return b"".join(parts)


def _run(url: str, recording: Recording, number: int, pipe: Pipe) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 0)
    names = [{token: renamed(token, worker) for token in recording.tokens} for worker in range(number)]
    clients = [
        _Client(address, one, own, recording.seconds) for own in names for one in recording.connections
    ]
    clients.append(_Client(address, recording.shared, {}, recording.seconds))
    pipe.send("ready")
    _Replay(clients, names, recording.seconds, pipe).run()


class _Replay:
    def __init__(
        self, clients: Sequence[_Client], names: Sequence[dict[bytes, bytes]], period: float, pipe: Pipe
    ) -> None:
        self._names = names
        self._pipe = pipe
        self._commands = self._late = 0
        self._order = count()
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)
        draw, now = random.Random(1), time.monotonic()
        # A worker's connections keep their recorded order; the workers begin anywhere in it.
        phases = {id(own): draw.random() * period for own in names}
        self._due: list[tuple[float, int, _Client]] = []
        for client in clients:
            self._selector.register(client, selectors.EVENT_READ)
            if not client.silent:
                client.begin(now, phases.get(id(client.names), 0.0))
                self._schedule(client)

    def run(self) -> None:
        """Send and receive until the process is ended."""
        while True:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                client = heapq.heappop(self._due)[2]
                if client.waiting:
                    client.overdue = True
                    self._late += 1
                else:
                    self._send(client)
            wait = self._due[0][0] - now if self._due else _ANSWERED_WITHIN
            for key, _ in self._selector.select(max(0.0, min(wait, _ANSWERED_WITHIN))):
                found = key.fileobj
                if isinstance(found, _Client):
                    found.receive()
                    if found.overdue:
                        self._send(found)
                else:
                    self._obey()

    def _send(self, client: _Client) -> None:
        client.send()
        self._commands += 1
        self._schedule(client)

    def _schedule(self, client: _Client) -> None:
        heapq.heappush(self._due, (client.due, next(self._order), client))

    def _obey(self) -> None:
        request = self._pipe.recv()
        if request is None:
            self._pipe.send(Sent(self._commands, self._late))
            self._commands = self._late = 0
        else:
            worker, job_id = request
            self._names[worker][RECORDED_JOB] = job_id.encode()
