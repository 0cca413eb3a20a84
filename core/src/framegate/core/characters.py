"""Characters: people (or things) from a video that later prompts mention by their ``@username``."""

from msgspec import Struct

from framegate.core.types import MediaRef


class Character(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stored character.

    Attributes:
        id: Its id.
        username: Unique on this server: [a-z0-9_], ending in three digits.
        display_name: Its name for people.
        owner: The name of the key that created it.
        avatar: The key of a square PNG in the artifact store.
        reference: The frame that conditions what the character appears in.
        created_at: Seconds since the epoch.
        temporary: Whether it was made for one job, and is removed with it.
        avatar_size: The bytes of the avatar.
    """

    id: str
    username: str
    display_name: str
    owner: str
    avatar: str
    reference: MediaRef
    created_at: float
    temporary: bool = False
    avatar_size: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        """The keys of its images."""
        return self.avatar, self.reference.key

    @property
    def stored_bytes(self) -> int:
        """The bytes of its images."""
        return self.avatar_size + self.reference.size


class Portrait(Struct, frozen=True):
    """The images of a new character; see `Character`."""

    avatar: str
    reference: MediaRef
    avatar_size: int = 0
