"""Characters: people (or things) of a video that later prompts call by their ``@username``."""

from msgspec import Struct

from framegate.core.types import MediaRef


class Character(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``username`` is unique on this server: [a-z0-9_], ending in three digits. ``avatar`` is the key of a
    square PNG in the artifact store, ``reference`` the frame that conditions what the character is in.
    ``temporary``: made for one job, removed with it.
    """

    id: str
    username: str
    display_name: str
    owner: str
    avatar: str
    reference: MediaRef
    created_at: float
    temporary: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """The keys of its pictures."""
        return self.avatar, self.reference.key


class Portrait(Struct, frozen=True):
    """What a character is made of; see `Character`."""

    avatar: str
    reference: MediaRef
