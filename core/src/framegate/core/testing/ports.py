"""The services' other ports in memory."""

import asyncio
import itertools
import math
import secrets
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from framegate.core.characters import Character, Portrait
from framegate.core.concurrency import FILE_THREADS
from framegate.core.errors import InvalidMedia, NotFound, QuotaReached, Unavailable
from framegate.core.keys import StoredKey, StoredKeys
from framegate.core.ports import (
    NO_CHARACTER_LIMITS,
    ArtifactStore,
    Base64Source,
    BytesSource,
    CharacterLimits,
    CollageSource,
    FileSource,
    UrlSource,
)
from framegate.core.types import MediaKind, MediaRef, Variant


class InMemoryArtifactStore:
    """An `ArtifactStore` in a folder, without syncing or cleaning up.

    While ``outage`` is an error, `probe` raises it.
    """

    def __init__(self, folder: Path) -> None:
        self.outage: Unavailable | None = None
        self._folder = folder
        self._numbers = itertools.count()

    def check(self) -> None:
        """Do nothing: the folder is trusted."""
        return

    def probe(self) -> None:
        """Raise what ``outage`` says, as a storage that is away or full would."""
        if self.outage is not None:
            raise self.outage

    def put(self, source: Path, key: str, *, sync: bool = True) -> int:
        """Move the file into the folder; return its size in bytes."""
        target = self._folder / key
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        return target.stat().st_size

    def syncing(self, keys: Collection[str]) -> AbstractContextManager[None]:
        """Do nothing: nothing is synced."""
        return nullcontext()

    def path(self, key: str) -> Path | None:
        """Return the file's own path, or None."""
        path = self._folder / key
        return path if path.is_file() else None

    def fetch(self, key: str, folder: Path) -> Path | None:
        """Return the file's own path, or None."""
        return self.path(key)

    def link(self, key: str, *, method: str, seconds: float) -> str | None:
        """Return None: this store serves no files."""
        return None

    def copy(self, key: str, new_key: str) -> None:
        """Copy the file."""
        if self.path(key) is None:
            raise NotFound("There is no such file.")
        target = self._folder / new_key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self._folder / key, target)

    def delete(self, key: str) -> None:
        """Remove the file if it is there."""
        (self._folder / key).unlink(missing_ok=True)

    def delete_many(self, keys: Collection[str]) -> Mapping[str, str]:
        """Remove those of the files that are there."""
        for key in keys:
            self.delete(key)
        return {}

    def workdir(self, name: str) -> Path:
        """Create a scratch folder."""
        folder = self._folder / "work" / f"{name}-{next(self._numbers)}"
        folder.mkdir(parents=True)
        return folder

    def keys_older_than(self, seconds: float) -> Iterator[str]:
        """Yield the keys of files of that age."""
        moment = time.time() - seconds
        for path in self._folder.rglob("*"):
            key = path.relative_to(self._folder).as_posix()
            if path.is_file() and not key.startswith("work/") and path.stat().st_mtime < moment:
                yield key

    def clean_up(self, *, unused_for: float = math.inf) -> None:
        """Do nothing: the test removes the folder."""
        return


class InMemoryCharacterStore:
    """A `CharacterStore` in memory. The bytes of jobs don't count."""

    def __init__(self) -> None:
        self._characters: dict[str, Character] = {}

    async def check_quota(self, owner: str, limits: CharacterLimits) -> None:
        """Check whether one more character would be accepted."""
        self._check(owner, limits, 0)

    def _check(self, owner: str, limits: CharacterLimits, size: int) -> None:
        kept = [c for c in self._characters.values() if c.owner == owner and not c.temporary]
        if limits.max_characters and len(kept) >= limits.max_characters:
            raise QuotaReached(f"This key keeps {len(kept)} characters.")
        stored = sum(character.stored_bytes for character in kept)
        if limits.max_stored and (stored >= limits.max_stored or stored + size > limits.max_stored):
            raise QuotaReached(f"This key keeps {stored} bytes.")

    async def add(self, character: Character, limits: CharacterLimits = NO_CHARACTER_LIMITS) -> bool:
        """Store the character unless its username is taken, or its owner has too many."""
        if character.username not in self._characters:
            self._check(character.owner, limits, character.stored_bytes)
        return self._characters.setdefault(character.username, character) is character

    async def get(self, username: str) -> Character | None:
        """Return the character, or None."""
        return self._characters.get(username)

    async def list(self, *, owner: str | None) -> Sequence[Character]:
        """Return characters, newest first."""
        return [c for c in reversed(self._characters.values()) if owner is None or c.owner == owner]

    async def delete(self, character: Character) -> None:
        """Remove the character if it is there."""
        self._characters.pop(character.username, None)


class InMemorySecretStore:
    """A `SecretStore` in memory."""

    def __init__(self) -> None:
        self._secrets: dict[str, bytes] = {}

    async def get_or_create(self, name: str) -> bytes:
        """Return the secret of that name."""
        return self._secrets.setdefault(name, secrets.token_bytes(32))


class InMemoryKeyStore:
    """A `KeyStore` in memory."""

    def __init__(self) -> None:
        self._version = 0
        self._keys: dict[str, StoredKey] = {}
        self._uses: dict[str, float] = {}

    async def version(self) -> int:
        """Return the number of changes so far."""
        return self._version

    async def read(self) -> StoredKeys:
        """Return all keys."""
        return StoredKeys(self._version, tuple(self._keys.values()))

    async def add(self, key: StoredKey) -> bool:
        """Store the key unless its name is taken."""
        if key.name in self._keys:
            return False
        self._put(key)
        return True

    async def update(self, name: str, change: Callable[[StoredKey], StoredKey]) -> StoredKey | None:
        """Replace the key by what ``change`` returns."""
        if name not in self._keys:
            return None
        self._put(change(self._keys[name]))
        return self._keys[name]

    async def delete(self, name: str) -> bool:
        """Remove the key; return False if there is none."""
        if self._keys.pop(name, None) is None:
            return False
        self._version += 1
        return True

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield at once, and again after every change."""
        seen = -1
        while True:
            if seen != self._version:
                seen = self._version
                yield
            await asyncio.sleep(0.01)

    async def note_uses(self, uses: Mapping[str, float]) -> None:
        """Remember when keys were last used."""
        self._uses |= uses

    async def last_uses(self) -> Mapping[str, float]:
        """Return when keys were last used."""
        return dict(self._uses)

    def _put(self, key: StoredKey) -> None:
        self._keys[key.name] = key
        self._version += 1


class StaticMediaIngest:
    """A `MediaIngest` that fetches and reads nothing.

    Every source becomes an image or video (2 s at 24 fps) of the given size, with the bytes of the source if
    these are given, except for the URLs and texts in ``broken``. Images that it takes from videos are empty
    files in ``artifacts``, if that is given. ``taken``, ``owners`` and ``discarded`` record the calls.
    """

    def __init__(
        self,
        width: int = 640,
        height: int = 480,
        broken: Collection[str] = (),
        artifacts: ArtifactStore | None = None,
    ) -> None:
        self.taken: list[FileSource] = []
        self.owners: list[str] = []
        self.discarded: list[MediaRef] = []
        self._size = width, height
        self._broken = set(broken)
        self._artifacts = artifacts

    def break_on(self, text: str) -> None:
        """Let a URL or a text be broken from now on."""
        self._broken.add(text)

    async def ingest(self, source: FileSource, kind: MediaKind, *, owner: str) -> MediaRef:
        """Record the source, and return a reference of the given size."""
        match source:
            case BytesSource():
                text = ""
            case Base64Source():
                text = source.text
            case UrlSource():
                text = source.url
        if text and text in self._broken:
            raise InvalidMedia("The image can't be read.")
        self.taken.append(source)
        self.owners.append(owner)
        width, height = self._size
        num_frames, fps = (48, 24.0) if kind == MediaKind.VIDEO else (1, 0.0)
        size = len(source.data) if isinstance(source, BytesSource) else 0
        return MediaRef(kind, f"inputs/{len(self.taken)}", width, height, num_frames, fps, size)

    async def ingest_collage(self, collage: CollageSource, *, owner: str) -> tuple[MediaRef, MediaRef | None]:
        """Record the images and the mask, and return references of the first one's size."""
        image, *_ = [await self.ingest(source, MediaKind.IMAGE, owner=owner) for source in collage.images]
        mask = await self.ingest_mask(collage.mask, image, owner=owner) if collage.mask else None
        return image, mask

    async def ingest_mask(
        self, source: FileSource, image: MediaRef, *, owner: str, ignore_alpha: bool = False
    ) -> MediaRef:
        """Record the source, and return a reference of the image's size."""
        del ignore_alpha
        mask = await self.ingest(source, MediaKind.IMAGE, owner=owner)
        return MediaRef(mask.kind, mask.key, image.width, image.height)

    async def ingest_frame(self, video: MediaRef, seconds: float, *, owner: str) -> MediaRef:
        """Return a reference to an image of the video's size."""
        return self._image(f"inputs/{video.key}@{seconds:g}", video)

    async def create_portrait(self, video: MediaRef, *, start: float, end: float, owner: str) -> Portrait:
        """Return references to two images of the video's size."""
        length = video.num_frames / video.fps
        if start >= length:
            raise InvalidMedia(f"The video is {length:g} s long.", param="timestamps")
        stem = f"characters/{video.key}@{start:g}-{end:g}"
        return Portrait(self._image(f"{stem}-avatar", video).key, self._image(stem, video))

    def discard(self, ref: MediaRef) -> None:
        """Record the reference, and delete its file."""
        self.discarded.append(ref)
        if self._artifacts is not None:
            self._artifacts.delete(ref.key)

    def _image(self, key: str, video: MediaRef) -> MediaRef:
        if self._artifacts is not None:
            path = self._artifacts.workdir("image") / "image"
            path.touch()
            self._artifacts.put(path, key)
        return MediaRef(MediaKind.IMAGE, key, video.width, video.height)


class StaticVariantMaker:
    """A `VariantMaker` that decodes nothing: what it makes are the variant's name and the result's bytes.

    ``made`` records the calls, as variant, quality and owner.
    """

    def __init__(self) -> None:
        self.made: list[tuple[Variant, int, str]] = []

    async def make_variant(
        self, source: Path, target: Path, variant: Variant, *, quality: int, owner: str
    ) -> None:
        """Record the call, and write the file."""
        self.made.append((variant, quality, owner))
        await FILE_THREADS.run(self._write, source, target, variant)

    def _write(self, source: Path, target: Path, variant: Variant) -> None:
        target.write_bytes(variant.encode() + source.read_bytes())
