"""For tests of plugins and of Framegate itself: ports in memory, and the contracts that every backend and
every dialect inherits as a class of tests.

A backend's tests::

    class TestPreview(BackendContract):
        spec = PREVIEW

        @pytest.fixture
        def backend(self): return PreviewBackend()

numpy and pytest are imported where they are used, so that importing this module needs neither.
"""

from framegate.core.testing.backends import BackendContract, RecordingContext, gradient_png
from framegate.core.testing.dialects import DialectContract
from framegate.core.testing.ports import (
    InMemoryArtifactStore,
    InMemoryCharacterStore,
    InMemoryJobStore,
    StaticMediaFetcher,
)

__all__ = [
    "BackendContract",
    "DialectContract",
    "InMemoryArtifactStore",
    "InMemoryCharacterStore",
    "InMemoryJobStore",
    "RecordingContext",
    "StaticMediaFetcher",
    "gradient_png",
]
