"""What holds for every part of OpenAI's API, on an app of the test's own."""

import hashlib
from typing import Any

import pytest
from openai import OpenAI

from framegate.server.testing import DialectContract
from tests.support.http_stand import Stand, StandMaker


class OpenAIContract(DialectContract):
    """The contract of a dialect, on a server with a key, with OpenAI's error bodies."""

    api_key = "alice's"

    @pytest.fixture
    def base_url(self, make_stand: StandMaker) -> str:
        """Return the address of a server that requires the key."""
        digest = hashlib.sha256(self.api_key.encode()).hexdigest()
        return make_stand(auth={"keys": [{"name": "alice", "sha256": digest}]}).url

    def is_error_body(self, body: Any) -> bool:
        """Return whether ``body`` is OpenAI's."""
        keys: set[str] = set(body["error"])
        return keys == {"message", "type", "param", "code"}


def sdk(stand: Stand, **options: Any) -> OpenAI:
    """Return the SDK for a stand that requires no key."""
    return OpenAI(base_url=f"{stand.url}/v1", api_key="x", timeout=20, **options)
