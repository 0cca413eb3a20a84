"""Requests that are sent to both versions, and what is kept of the answers."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import requests

from tests.compatibility.wire.answers import Answer, answer_of
from tests.compatibility.wire.media import MediaStand
from tests.support.running import eventually

Until: TypeAlias = Callable[[Any], bool]
TIMEOUT = 120
_NAME = re.compile(r"\{(\w+)\}")
_LINK = re.compile(r"https?://[^\s'\")]+")


@dataclass
class Client:
    """A client of one server. ``names`` are what requests can refer to as ``{name}``: media, ids of jobs."""

    url: str
    names: dict[str, str]
    media: MediaStand
    keys: Mapping[str, str] = field(default_factory=dict[str, str])
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        self.session.trust_env = False

    def filled(self, value: Any) -> Any:
        """Return ``value`` with the names in its texts replaced."""
        if isinstance(value, str):
            return _NAME.sub(lambda match: self.names.get(match[1], match[0]), value)
        if isinstance(value, dict):
            items: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType] # JSON
            return {self.filled(name): self.filled(item) for name, item in items.items()}
        if isinstance(value, list | tuple):
            return [self.filled(item) for item in value]  # pyright: ignore[reportUnknownVariableType] # JSON
        return value


class Step(Protocol):
    """Something that is done with both versions, and whose outcome is compared."""

    @property
    def name(self) -> str:
        """What it is called where it is printed."""
        ...

    def run(self, client: Client) -> Answer:
        """Do it and return the outcome."""
        ...


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request.

    Attributes:
        body: What is sent as JSON; None for none.
        raw: The body as it is, instead of ``body``.
        fields: The text fields of a multipart form.
        files: The files of the form: field, file name and the name of what is in it, such as ``photo``.
        key: Whose key is sent; empty for none. Ignored where the server has no keys.
        keep: Values of the answer that later requests refer to: their name and their path in the JSON. Of a
            text with a link it is the link.
        until: The request is repeated until this is true of the answer's JSON, or it is an error.
    """

    method: str
    path: str
    body: Any = None
    raw: bytes | None = None
    content_type: str = "application/json"
    fields: tuple[tuple[str, str], ...] = ()
    files: tuple[tuple[str, str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    key: str = "alice"
    keep: Mapping[str, str] = field(default_factory=dict[str, str])
    until: Until | None = None

    @property
    def name(self) -> str:
        """The request in short."""
        what = self.body if self.body is not None else self.raw
        parts = [self.method, self.path, what, self.fields, self.files, dict(self.headers)]
        sender = () if self.key == "alice" else (f"as {self.key or 'nobody'}",)
        return " ".join(str(part)[:160] for part in (*parts, *sender) if part)

    def run(self, client: Client) -> Answer:
        """Send the request; with ``until`` again and again."""
        if self.until is None:
            response = self._send(client)
        else:
            until = self.until

            def look() -> list[requests.Response]:
                response = self._send(client)
                return [response] if response.status_code >= 400 or until(response.json()) else []

            [response] = eventually(look, seconds=TIMEOUT, what=self.name)
        for name, path in self.keep.items():
            value = str(_value_at(response, path))
            link = _LINK.search(value)
            client.names[name] = link[0] if link else value
        return answer_of(response)

    def _send(self, client: Client) -> requests.Response:
        headers = {name: client.filled(value) for name, value in self.headers.items()}
        if self.key and client.keys:
            headers.setdefault("Authorization", f"Bearer {client.keys[self.key]}")
        data: bytes | None = self.raw
        files: list[tuple[str, Any]] = []
        if self.body is not None:
            data = json.dumps(client.filled(self.body)).encode()
        if data is not None and self.content_type:
            headers.setdefault("Content-Type", self.content_type)
        if self.fields or self.files:
            files = [(name, (None, client.filled(text))) for name, text in self.fields]
            files += [(name, (file, client.media.contents[what])) for name, file, what in self.files]
        path: str = client.filled(self.path)
        return client.session.request(
            self.method,
            path if path.startswith("http") else client.url + path,
            data=data,
            files=files or None,
            headers=headers,
            timeout=TIMEOUT,
            allow_redirects=False,
        )


def _value_at(response: requests.Response, path: str) -> Any:
    if response.status_code >= 400:
        return "missing"
    value = response.json()
    for part in path.split("."):
        value = value[int(part)] if part.isdecimal() else value[part]
    return value


@dataclass(frozen=True)
class WebhookDelivery:
    """Wait for an event that the server sends to the stand, as ``kind`` of the video called ``video``."""

    kind: str
    video: str

    @property
    def name(self) -> str:
        """The event in short."""
        return f"webhook {self.kind} of {self.video}"

    def run(self, client: Client) -> Answer:
        """Wait for it and return it as if it were an answer."""
        wanted = client.names[self.video]

        def arrived() -> Answer | None:
            for headers, body in list(client.media.received):
                event = json.loads(body)
                if event["type"] == self.kind and event["data"]["id"] == wanted:
                    return Answer.of(0, headers, body)
            return None

        return eventually(arrived, seconds=TIMEOUT, what=self.name)


def get(path: str, **more: Any) -> Exchange:
    """Return a GET."""
    return Exchange(method="GET", path=path, **more)


def post(path: str, _more: Mapping[str, Any] | None = None, /, **body: Any) -> Exchange:
    """Return a POST of JSON; ``_more`` are further attributes of the exchange."""
    return Exchange(method="POST", path=path, body=body, **(_more or {}))


def form(path: str, *files: tuple[str, str, str], **fields: str) -> Exchange:
    """Return a POST of a multipart form."""
    return Exchange(method="POST", path=path, fields=tuple(fields.items()), files=files)
