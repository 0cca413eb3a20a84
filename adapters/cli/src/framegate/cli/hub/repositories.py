"""What a hub has of a model, and its way into the cache. This imports huggingface_hub."""

import glob
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec
from filelock import Timeout as FileLockTimeout
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.hf_api import RepoFile

from framegate.cli.hub.blobs import Blob, BlobFetcher, PullFailed, PullStopped
from framegate.core.backend import HubDownload
from framegate.core.errors import GenerationFailed

# Parts of its interface that it passes on from elsewhere, which type checkers don't take for exports.
_utils: Any = import_module("huggingface_hub.utils")
_HTTP_ERROR: type[Exception] = import_module("huggingface_hub.errors").HTTPError

PARALLEL = 4
"""How many files are downloaded at a time."""
LOCK_SECONDS = 0.5
"""How often a download that waits for another process looks whether it was stopped."""


class Repository:
    """The files that one `HubDownload` needs, listed when it is made.

    Raises:
        PullFailed: The hub has no such repository, or doesn't give it to this user.
    """

    def __init__(self, needed: HubDownload) -> None:
        _utils.disable_progress_bars()
        self.needed = needed
        self._api = HfApi()
        with _errors_as_sentences(needed):
            info = self._api.model_info(needed.repository, revision=needed.revision or None)
            assert info.sha is not None
            self.commit: str = info.sha
            tree = self._api.list_repo_tree(needed.repository, recursive=True, revision=self.commit)
            files = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
            try:
                names = needed.select(files.keys(), self._read)
            except GenerationFailed as error:
                raise PullFailed(f"{needed.setting}: {needed.repository}: {error.message}.") from None
        if strange := [name for name in names if not _is_plain(name)]:
            raise PullFailed(
                f"{needed.setting}: {needed.repository} has a file with the strange name {strange[0]!r}."
            )
        self._files = [files[name] for name in names]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self._files)

    @property
    def count(self) -> int:
        """How many files there are."""
        return len(self._files)

    @property
    def missing_bytes(self) -> int:
        """The bytes that have yet to be downloaded."""
        fetcher = self._fetcher(lambda _: None, threading.Event())
        missing = sum(fetcher.missing_bytes(blob) for blob in self._blobs())
        fetcher.close()
        return missing

    def pull(self, advance: Callable[[int], None]) -> tuple[Path, int]:
        """Download what is missing and check all of it; return the snapshot's folder and the bytes received.

        Large files are checked by their SHA-256, all by their size.

        Raises:
            PullFailed: A file can't be downloaded.
        """
        with _errors_as_sentences(self.needed):
            received = self._fetch_blobs(advance)
            # The blobs are found in the cache by what the hub calls their content. This links them, fetches
            # the small files, and leaves the list of all files that offline loading looks at.
            folder = Path(
                self._api.snapshot_download(
                    self.needed.repository,
                    revision=self.commit,
                    allow_patterns=[glob.escape(file.path) for file in self._files],
                )
            )
            self._note_revision()
        for file in self._files:
            if file.lfs is None:
                advance(file.size)
            if (folder / file.path).stat().st_size != file.size:
                raise PullFailed(f"{file.path} of {self.needed.repository} has another size than on the hub.")
        return folder, received

    def _note_revision(self) -> None:
        """Note what the revision stands for in the cache, where offline loading looks that up."""
        revision = self.needed.revision or constants.DEFAULT_REVISION
        if revision == self.commit:
            return
        noted = self._folder / "refs" / revision
        noted.parent.mkdir(parents=True, exist_ok=True)
        partial = noted.with_name(f"{noted.name}.{uuid.uuid4().hex}.tmp")
        partial.write_text(self.commit)
        partial.replace(noted)

    def _fetch_blobs(self, advance: Callable[[int], None]) -> int:
        stopping = threading.Event()
        fetcher = self._fetcher(advance, stopping)
        with ThreadPoolExecutor(PARALLEL) as threads:
            fetching = [threads.submit(self._fetch, fetcher, blob, stopping) for blob in self._blobs()]
            try:
                done, _ = wait(fetching, return_when=FIRST_EXCEPTION)
                failed = [future for future in done if future.exception() is not None]
                if failed:
                    failed[0].result()
                return sum(future.result() for future in fetching)
            finally:
                stopping.set()
                threads.shutdown(cancel_futures=True)
                fetcher.close()

    def _fetch(self, fetcher: BlobFetcher, blob: Blob, stopping: threading.Event) -> int:
        """Fetch a blob, under the lock that huggingface_hub takes for it."""
        lock = self._folder.parent / ".locks" / self._folder.name / f"{blob.sha256}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        while not stopping.is_set():
            with ExitStack() as held:
                try:
                    held.enter_context(_utils.WeakFileLock(lock, timeout=LOCK_SECONDS))
                except FileLockTimeout:
                    continue
                return fetcher.fetch(blob)
        raise PullStopped

    def _fetcher(self, advance: Callable[[int], None], stopping: threading.Event) -> BlobFetcher:
        folder = self._folder / "blobs"
        folder.mkdir(parents=True, exist_ok=True)
        headers = {**_utils.build_hf_headers(), "Accept-Encoding": "identity"}
        return BlobFetcher(folder, headers, advance=advance, stopping=stopping)

    @property
    def _folder(self) -> Path:
        """The repository's folder in the cache."""
        name = repo_folder_name(repo_id=self.needed.repository, repo_type="model")
        return Path(constants.HF_HUB_CACHE) / name

    def _blobs(self) -> Sequence[Blob]:
        """Return the large files, one for each content.

        Raises:
            PullFailed: The hub describes one by what can't be true.
        """
        blobs: dict[str, Blob] = {}
        for file in self._files:
            if file.lfs is None:
                continue
            url = hf_hub_url(self.needed.repository, file.path, revision=self.commit)
            described = {"name": file.path, "url": url, "size": file.size, "sha256": file.lfs.sha256}
            try:
                blob = msgspec.convert(described, Blob)
            except msgspec.ValidationError:
                raise PullFailed(
                    f"{self.needed.repository}: the hub names {file.size!r} bytes and the SHA-256 "
                    f"{file.lfs.sha256!r} for {file.path!r}, which no file has."
                ) from None
            blobs[blob.sha256] = blob
        return list(blobs.values())

    def _read(self, name: str) -> bytes:
        return Path(
            self._api.hf_hub_download(self.needed.repository, name, revision=self.commit)
        ).read_bytes()


def require_space(repositories: Sequence[Repository]) -> None:
    """Check that the cache's disk has room for what is missing.

    Raises:
        PullFailed: It has not.
    """
    folder = Path(constants.HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    missing, free = sum(each.missing_bytes for each in repositories), shutil.disk_usage(folder).free
    if missing > free:
        raise PullFailed(
            f"{_gigabytes(missing)} are to be downloaded, and the disk of {os.fspath(folder)} has "
            f"{_gigabytes(free)} left. HF_HOME names another folder."
        )


@contextmanager
def _errors_as_sentences(needed: HubDownload) -> Generator[None]:
    name = f"{needed.setting}: {needed.repository}"
    try:
        yield
    except GatedRepoError:
        raise PullFailed(
            f"{name} is gated: accept its terms at {constants.ENDPOINT}/{needed.repository}, and set "
            "HF_TOKEN to a token of that account."
        ) from None
    except RepositoryNotFoundError:
        raise PullFailed(
            f"{name}: the hub has no such repository, or it is private and HF_TOKEN is not a token that may "
            "read it."
        ) from None
    except RevisionNotFoundError:
        raise PullFailed(f"{name} has no revision {needed.revision!r}.") from None
    except HFValidationError:
        raise PullFailed(f"{name} is not a name of a repository, which is OWNER/NAME.") from None
    except OfflineModeIsEnabled:
        raise PullFailed("The variable HF_HUB_OFFLINE keeps this host from the hub; unset it.") from None
    except HfHubHTTPError as error:
        raise PullFailed(f"{name}: the hub answers {error.response.status_code}.") from None
    except _HTTP_ERROR as error:
        raise PullFailed(
            f"The hub at {constants.ENDPOINT} can't be reached ({type(error).__name__})."
        ) from None


def _is_plain(name: str) -> bool:
    """Return whether a file's name leads to a place below its repository on any system."""
    parts = name.split("/")
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & {*parts}


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
