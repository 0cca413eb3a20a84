"""The progress bar of a job."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from framegate.cli.servers.views import JobView
from framegate.core.printable import printable


class JobProgressBar:
    """Show a job's state, progress and message on one line of standard error; use it in a ``with`` block.

    Standard output stays free for the command's result.
    """

    def __init__(self, *, hidden: bool = False) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=32),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            disable=hidden,
        )
        self._task = self._progress.add_task("queued", total=1.0, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, job: JobView) -> None:
        """Redraw the line for the job as it is now."""
        self._progress.update(
            self._task,
            completed=job.progress,
            description=str(job.state),
            note=printable(job.message or job.waiting),
            refresh=True,
        )
