"""Characters as dialects and the command line see them."""

import re
import secrets
import time
import unicodedata
import uuid
from collections.abc import Sequence
from contextlib import suppress

from msgspec.structs import replace

from framegate.core import audit
from framegate.core.characters import Character
from framegate.core.concurrency import FILE_THREADS, to_its_end
from framegate.core.errors import Busy, NotFound, QuotaReached, Unavailable
from framegate.core.ports import (
    ArtifactStore,
    CharacterLimits,
    CharacterStore,
    FileSource,
    MediaIngest,
)
from framegate.core.submission import Client
from framegate.core.types import MediaKind

MAX_NAME = 80
DEFAULT_NAME = "Character"
_TRIES = 20


class CharacterService:
    """Create, find, list and delete characters.

    An ``owner`` of None is the operator, who sees everybody's; every other owner finds only their own.
    """

    def __init__(self, store: CharacterStore, artifacts: ArtifactStore, media: MediaIngest) -> None:
        self._store = store
        self._artifacts = artifacts
        self._media = media

    async def create(
        self,
        source: FileSource,
        *,
        start: float,
        end: float,
        client: Client,
        display_name: str = "",
        temporary: bool = False,
    ) -> Character:
        """Create a character of ``client`` from what a video shows between ``start`` and ``end`` (seconds).

        A ``temporary`` one is removed by retention, even if nobody deletes it, and doesn't count towards
        ``max_characters``.

        Raises:
            InvalidMedia: The video can't be fetched or read, or the interval lies outside it.
            QuotaReached: The client keeps as much as it may.
            Busy: Too much is waiting to be decoded, or no free username was found.
        """
        limits = CharacterLimits(
            max_characters=0 if temporary else client.max_characters or 0,
            max_stored=client.max_stored_bytes or 0,
        )
        # This spares the work on the video; the decision is that of `CharacterStore.add`.
        await self._store.check_quota(client.name, limits)
        share = client.identity
        video = await self._media.ingest(source, MediaKind.VIDEO, owner=share)
        try:
            portrait = await self._media.create_portrait(video, start=start, end=end, owner=share)
        finally:
            await to_its_end(FILE_THREADS.run(self._media.discard, video))
        character = Character(
            id=uuid.uuid4().hex,
            username="",
            display_name=" ".join(display_name.split())[:MAX_NAME] or DEFAULT_NAME,
            owner=client.name,
            avatar=portrait.avatar,
            reference=portrait.reference,
            created_at=time.time(),
            temporary=temporary,
            avatar_size=portrait.avatar_size,
        )
        try:
            return await self._add(character, limits)
        except BaseException:
            await self._remove_files(character)
            raise

    async def get(self, username: str, owner: str | None = None) -> Character:
        """Return the character.

        Raises:
            NotFound: There is none, or it belongs to another key.
        """
        character = await self._store.get(username) if len(username) <= MAX_NAME else None
        if character is None or (owner is not None and character.owner != owner):
            raise NotFound(f"There is no character @{username[:100]}.")
        return character

    async def list(self, owner: str | None = None) -> Sequence[Character]:
        """Return the characters of ``owner``, newest first."""
        return await self._store.list(owner=owner)

    async def delete(self, username: str, owner: str | None = None) -> None:
        """Remove the character and its images; jobs that use it have their own copies.

        Raises:
            NotFound: As for `get`.
        """
        character = await self.get(username, owner)
        await self._store.delete(character)
        await self._remove_files(character)
        audit.record("character_deleted", character=character.username, owner=character.owner)

    async def first_of(self, usernames: Sequence[str], owner: str) -> Character | None:
        """Return the first of these that is a character of ``owner``, or None."""
        for username in usernames:
            character = await self._store.get(username)
            if character is not None and character.owner == owner:
                return character
        return None

    async def _add(self, character: Character, limits: CharacterLimits) -> Character:
        """Store it under a unique username."""
        slug = slug_of(character.display_name)
        for attempt in range(_TRIES):
            # Where hundreds share a name, few numbers are left: letters are added to it.
            stem = slug + "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz") for _ in range(attempt // 3))
            named = replace(character, username=f"{stem}{secrets.randbelow(1000):03}")
            try:
                if await self._store.add(named, limits):
                    return named
            except QuotaReached:
                raise
            except BaseException:  # it may have been added nevertheless
                await to_its_end(self._undo(named))
                raise
        raise Busy("No free username was found for the character; try again.")

    async def _undo(self, character: Character) -> None:
        with suppress(Unavailable):
            found = await self._store.get(character.username)
            if found is not None and found.id == character.id:
                await self._store.delete(found)

    async def _remove_files(self, character: Character) -> None:
        def remove() -> None:
            for key in character.files:
                self._artifacts.delete(key)

        await to_its_end(FILE_THREADS.run(remove))


def slug_of(name: str) -> str:
    """Return ``name`` in the characters that a username may have."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:24].strip("_") or DEFAULT_NAME.lower()
