"""What commands read of the answers of other servers."""

import msgspec

from framegate.cli.servers.views import ModelView


def test_a_newer_server_may_have_further_defaults() -> None:
    """In a config an unknown default is an error, in an answer it is not."""
    answer = b'{"name": "m", "served_by": "m", "defaults": {"width": 640, "brightness": 0.5}}'
    assert msgspec.json.decode(answer, type=ModelView).defaults.width == 640
