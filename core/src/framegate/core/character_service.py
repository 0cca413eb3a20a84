"""Makes characters, keeps them, and finds those that a prompt calls."""

import asyncio
import re
import secrets
import time
import unicodedata
import uuid
from collections.abc import Sequence
from contextlib import suppress

from msgspec.structs import replace

from framegate.core.characters import Character
from framegate.core.errors import Busy, NotFound, Unavailable
from framegate.core.ports import ArtifactStore, CharacterStore, MediaIngest, MediaSource
from framegate.core.types import MediaKind

MAX_NAME = 80
DEFAULT_NAME = "Character"
_TRIES = 20


class CharacterService:
    """As for jobs, ``owner`` None means the operator; every other owner finds only their own characters."""

    def __init__(self, store: CharacterStore, artifacts: ArtifactStore, media: MediaIngest) -> None:
        self._store = store
        self._artifacts = artifacts
        self._media = media

    async def create(
        self,
        source: MediaSource,
        *,
        start: float,
        end: float,
        owner: str,
        display_name: str = "",
        temporary: bool = False,
    ) -> Character:
        """Raises:
        InvalidMedia: the video can't be had or read, or has no such seconds; nothing is kept.
        """
        video = await self._media.take(source, MediaKind.VIDEO)
        try:
            portrait = await self._media.portray(video, start=start, end=end)
        finally:
            await asyncio.shield(asyncio.to_thread(self._media.discard, video))
        character = Character(
            id=uuid.uuid4().hex,
            username="",
            display_name=" ".join(display_name.split())[:MAX_NAME] or DEFAULT_NAME,
            owner=owner,
            avatar=portrait.avatar,
            reference=portrait.reference,
            created_at=time.time(),
            temporary=temporary,
        )
        try:
            return await self._add(character)
        except BaseException:
            await self._remove_files(character)
            raise

    async def get(self, username: str, owner: str | None = None) -> Character:
        """Raises:
        NotFound: there is none, or it is another key's.
        """
        character = await self._store.get(username)
        if character is None or (owner is not None and character.owner != owner):
            raise NotFound(f"There is no character @{username[:100]}.")
        return character

    async def list(self, owner: str | None = None) -> Sequence[Character]:
        """Newest first."""
        return await self._store.list(owner=owner)

    async def delete(self, username: str, owner: str | None = None) -> None:
        """Remove the character and its pictures; jobs that use it have their own copies.

        Raises:
            NotFound: as for `get`.
        """
        character = await self.get(username, owner)
        await self._store.delete(username)
        await self._remove_files(character)

    async def first_of(self, usernames: Sequence[str], owner: str) -> Character | None:
        """The first of the names that a character of ``owner`` has; other @names are plain text."""
        for username in usernames:
            character = await self._store.get(username)
            if character is not None and character.owner == owner:
                return character
        return None

    async def _add(self, character: Character) -> Character:
        """Keep it under a username of its own."""
        slug = slug_of(character.display_name)
        for attempt in range(_TRIES):
            # A name that hundreds have already has few numbers left: it grows.
            stem = slug + "".join(secrets.choice("abcdefghjkmnpqrstuvwxyz") for _ in range(attempt // 3))
            named = replace(character, username=f"{stem}{secrets.randbelow(1000):03}")
            try:
                if await self._store.add(named):
                    return named
            except BaseException:  # it may have been added all the same
                await asyncio.shield(self._undo(named))
                raise
        raise Busy("No free username was found for the character; try again.")

    async def _undo(self, character: Character) -> None:
        with suppress(Unavailable):
            found = await self._store.get(character.username)
            if found is not None and found.id == character.id:
                await self._store.delete(character.username)

    async def _remove_files(self, character: Character) -> None:
        def remove() -> None:
            for key in character.files:
                self._artifacts.delete(key)

        await asyncio.shield(asyncio.to_thread(remove))


def slug_of(name: str) -> str:
    """``name`` in the letters of a username."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:24].strip("_") or DEFAULT_NAME.lower()
