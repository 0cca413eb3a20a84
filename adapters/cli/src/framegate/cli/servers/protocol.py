"""The protocol of a server, as commands use it."""

from collections.abc import AsyncGenerator, Collection, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from framegate.cli.servers.views import CharacterView, JobView
from framegate.core.jobs import JobState
from framegate.core.ports import BytesSource, UrlSource
from framegate.core.types import GenerationRequest

InputFile: TypeAlias = Path | UrlSource | BytesSource
"""An input of `generate`: a file, a URL, or what came from standard input."""


class ResultFile(Protocol):
    """Where a result is written."""

    @property
    def written(self) -> int:
        """The bytes that have been written."""
        ...

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        ...

    def restart(self) -> None:
        """Begin again with the first byte."""
        ...


class Server(Protocol):
    """Jobs and characters of a server.

    Every method raises the `FramegateError` whose message says what is wrong.
    """

    async def submit(self, request: GenerationRequest[InputFile]) -> JobView:
        """Submit a job. An empty ``model`` is the server's default."""
        ...

    async def list_jobs(self, *, states: Collection[JobState], limit: int) -> Sequence[JobView]:
        """Return jobs, newest first; those of any state where none is given."""
        ...

    async def get_job(self, job_id: str) -> JobView:
        """Return a job."""
        ...

    def watch_job(self, job_id: str) -> AsyncGenerator[JobView]:
        """Yield a job's current state, then each later state, ending with the final one."""
        ...

    async def cancel_job(self, job_id: str) -> JobView:
        """Cancel a job."""
        ...

    async def retry_job(self, job_id: str) -> JobView:
        """Submit a job's request again, and return the new job."""
        ...

    async def delete_job(self, job_id: str) -> None:
        """Remove a job and its files."""
        ...

    async def save_result(self, job: JobView, number: int, file: ResultFile) -> None:
        """Write a result to ``file``; ``number`` counts from 0."""
        ...

    async def list_characters(self) -> Sequence[CharacterView]:
        """Return characters, newest first."""
        ...

    async def get_character(self, username: str) -> CharacterView:
        """Return a character."""
        ...

    async def delete_character(self, username: str) -> None:
        """Remove a character."""
        ...
