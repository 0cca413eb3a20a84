"""Contract tests that a dialect's tests inherit."""

import http.client
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit


class DialectContract(ABC):
    """Test how a dialect handles bad requests.

    A subclass has a fixture ``base_url`` (with the dialect's prefix), recognises its error bodies, and names
    its requests.
    """

    posts: ClassVar[Sequence[str]]
    """Paths that take a JSON body by POST."""
    unknown_path: ClassVar[str] = "/no/such/path"
    """A path below the dialect's own that it does not have."""
    api_key: ClassVar[str] = ""
    """A valid key, if the server has any."""

    @abstractmethod
    def is_error_body(self, body: Any) -> bool:
        """Return whether ``body`` is one of the dialect's error bodies."""

    def test_unknown_path(self, base_url: str) -> None:
        """Check that unknown paths are answered with 404."""
        self.refused(base_url, "GET", self.unknown_path, statuses=(404,))

    def test_wrong_method(self, base_url: str) -> None:
        """Check that wrong methods are answered with 405."""
        for path in self.posts:
            self.refused(base_url, "PUT", path, b"{}", statuses=(405,))

    def test_malformed_bodies(self, base_url: str) -> None:
        """Check that bodies other than valid JSON objects are refused."""
        bodies = [
            b"",
            b"{",
            b"[]",
            b"null",
            b'{"prompt": NaN}',
            b'{"prompt": "\xff\xfe"}',
            b'{"prompt": 1e999}',
        ]
        for path, body in itertools.product(self.posts, bodies):
            self.refused(base_url, "POST", path, body)

    def test_deep_nesting(self, base_url: str) -> None:
        """Check that bodies that nest deeply are refused."""
        for path in self.posts:
            for body in (
                b"[" * 10_000 + b"]" * 10_000,
                b'{"prompt": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
            ):
                self.refused(base_url, "POST", path, body)

    def test_keys(self, base_url: str) -> None:
        """Check that missing and wrong keys are answered with 401."""
        if not self.api_key:
            return
        for path, key in itertools.product(
            self.posts, ("", "Bearer wrong", "Basic YTpi", f"Bearer {self.api_key}x")
        ):
            self.refused(base_url, "POST", path, b"{}", statuses=(401,), authorization=key)

    def refused(
        self,
        base_url: str,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        statuses: Collection[int] = range(400, 500),
        authorization: str | None = None,
    ) -> Any:
        """Send a request that must be refused with one of ``statuses``, and return the error body."""
        parts = urlsplit(base_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        headers = {"Content-Type": "application/json"}
        if authorization is None and self.api_key:
            authorization = f"Bearer {self.api_key}"
        if authorization:
            headers["Authorization"] = authorization
        try:
            connection.request(method, parts.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        shown = f"{method} {path} {(body or b'')[:40]!r}: {response.status} {text[:300]!r}"
        assert response.status in statuses, shown
        answer = json.loads(text)
        assert self.is_error_body(answer), shown
        return answer
