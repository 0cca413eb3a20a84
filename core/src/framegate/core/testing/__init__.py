"""For tests of plugins and of Framegate itself: ports in memory, and the contract of every backend as a class
of tests to inherit. That of every dialect is `framegate.server.testing.DialectContract`.

A backend's tests::

    class TestPreview(BackendContract):
        spec = PREVIEW

        @pytest.fixture
        def backend(self): return PreviewBackend()

numpy and pytest are imported where they are used, so that importing this module needs neither.
"""

from framegate.core.testing.backends import BackendContract, RecordingContext, gradient_png
from framegate.core.testing.ports import (
    InMemoryArtifactStore,
    InMemoryCharacterStore,
    InMemoryJobStore,
    StaticMediaIngest,
)

__all__ = [
    "BackendContract",
    "InMemoryArtifactStore",
    "InMemoryCharacterStore",
    "InMemoryJobStore",
    "RecordingContext",
    "StaticMediaIngest",
    "gradient_png",
]
