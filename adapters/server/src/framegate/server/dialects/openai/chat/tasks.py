"""Answer the tasks of chat front ends, such as a title for the chat, with a short text. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from framegate.server.dialects.openai.chat.parts import text_of
from framegate.server.dialects.openai.chat.schemas import ChatMessage
from framegate.server.dialects.openai.chat.task_prompts import KNOWN

_HEAD = 20_000
"""How many characters of a message are looked at."""
_WORDS, _LETTERS = 6, 48
_UNTITLED = "New video"
# What the answer's only key holds, by the key that the prompt asks for.
_JSON_ANSWERS: Mapping[str, Any] = {
    "title": str,
    "prompt": str,
    "tags": [],
    "follow_ups": [],
    "queries": [],
    "tool_calls": [],
    "text": "",
}
_EMOJI = "Your task is to reflect the speaker's likely facial expression"
# Where a prompt begins to quote the conversation.
_QUOTES = (
    *("<chat_history>", "```", "||>User:", "Conversation:\n", "latest user query:"),
    *("Here is the query:\n", "that starts with:\n", "punctuation or quotation)\n"),
)
_LABEL = re.compile(r"\s*(?:\|\|>|<|\*\*|#+ ?)?(?:user(?: message)?|human|用户)(?:>|:|：)", re.IGNORECASE)
_REPLY = re.compile(r"\s*(?:\|\|>|<)?(?:assistant|response|ai)[>:]", re.IGNORECASE)
_MARKS = " \t\"'`*#<>|-=_“”"


class TaskPatterns:
    """Patterns of front ends' prompts: the known ones, and more in their form."""

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._patterns = [_normalized(pattern).split("*") for pattern in (*KNOWN, *more)]

    def match(self, text: str) -> bool:
        """Return whether a pattern matches the beginning of ``text``, in linear time."""
        head = _normalized(text[:_HEAD])
        return any(_begins(head, pieces) for pieces in self._patterns)

    def answer_to(self, messages: Sequence[ChatMessage]) -> str | None:
        """Return the answer to the task in a chat; None if there is no task, but a prompt.

        The task is in the last message, or in a system message before the conversation.
        """
        last, first = text_of(messages[-1]), messages[0]
        if self.match(last):
            return _answer(last, _conversation(last) or _first_prompt(messages[:-1]))
        if first.role in ("system", "developer") and self.match(text := text_of(first)):
            return _answer(text, _conversation(text) or _first_prompt(messages[1:]))
        return None


def _normalized(text: str) -> str:
    return " ".join(text.split()).casefold()


def _begins(text: str, pieces: Sequence[str]) -> bool:
    start, *others = (piece.strip() for piece in pieces)
    if not text.startswith(start):
        return False
    position = len(start)
    for piece in others:
        found = text.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def _answer(task: str, conversation: str) -> str:
    """Return the JSON that the task asks for, or else a title."""
    if _begins(_normalized(task[:_HEAD]), [_normalized(_EMOJI)]):
        return "🎬"
    title = _title(conversation)
    instructions = task[:_HEAD].partition("<chat_history>")[0]
    asked = {key: place for key in _JSON_ANSWERS if (place := instructions.find(f'"{key}"')) >= 0}
    if not asked:
        return title
    key = min(asked, key=asked.__getitem__)
    value = _JSON_ANSWERS[key]
    return msgspec.json.encode({key: title if value is str else value}).decode()


def _conversation(task: str) -> str:
    """Return what the task quotes of the conversation, empty if it quotes nothing."""
    head = task[:_HEAD]
    places = ((head.find(mark), mark) for mark in _QUOTES)
    found = min(((place, mark) for place, mark in places if place >= 0), default=None)
    return head[found[0] + len(found[1]) :] if found else ""


def _first_prompt(messages: Sequence[ChatMessage]) -> str:
    return next((text_of(message) for message in messages if message.role == "user"), "")


def _title(conversation: str) -> str:
    """Return the beginning of the conversation's first prompt, as a title."""
    lines = conversation[:_HEAD].splitlines()
    first = next((index for index, line in enumerate(lines) if _LABEL.match(line)), 0)
    for line in lines[first:]:
        if _REPLY.match(line):
            break  # the prompt has no text
        label = _LABEL.match(line)
        words = (line[label.end() :] if label else line).strip(_MARKS).split()
        if words and (label or not line.lstrip().startswith("<")):
            title = " ".join(words[:_WORDS])[:_LETTERS].rstrip(" ,;:")
            return title[:1].upper() + title[1:]
    return _UNTITLED
