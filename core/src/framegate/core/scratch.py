"""Scratch folders of the artifact store."""

import shutil
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from framegate.core.concurrency import FILE_THREADS, in_thread, to_its_end
from framegate.core.disk_full import translate_disk_full
from framegate.core.ports import ArtifactStore


@asynccontextmanager
async def scratch_folder(artifacts: ArtifactStore, purpose: str) -> AsyncGenerator[Path]:
    """Yield a new folder, named after its ``purpose``, which is removed at the end of the block.

    A full disk is reported as such within the block.
    """
    name = f"{purpose}-{uuid.uuid4().hex}"
    with translate_disk_full():
        folder = await in_thread(lambda: artifacts.workdir(name), _remove)
        try:
            yield folder
        finally:
            await to_its_end(FILE_THREADS.run(_remove, folder))


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
