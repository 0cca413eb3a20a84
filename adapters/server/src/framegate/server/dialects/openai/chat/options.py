"""The options of dialects that answer chats."""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from framegate.server.dialects.openai.chat.job_events import OnDisconnect

# At least one character that is to be found, so that no pattern matches every prompt.
_Pattern: TypeAlias = Annotated[
    str, Meta(pattern=r"[^*\s]", description="a text with more than * and spaces in it")
]


class ChatOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tables of all such dialects have.

    Attributes:
        on_disconnect: With "keep" a job runs to its end even if its client disconnects.
        answer_tasks: Answer the prompts that front ends send on their own, for titles and the like, with a
            text instead of a video.
        task_patterns: The beginnings of more such prompts, where ``*`` stands for any text.
    """

    on_disconnect: OnDisconnect = "cancel"
    answer_tasks: bool = True
    task_patterns: tuple[_Pattern, ...] = ()
