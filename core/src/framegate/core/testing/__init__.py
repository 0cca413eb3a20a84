"""Support for tests of plugins and of Framegate itself.

It has the contract of every backend, as a class of tests to inherit (that of every dialect is
`framegate.server.testing.DialectContract`), in-memory ports, and the reference model of what Lua scripts do
in production: `scheduling`, `transitions` and `idempotency`.

A backend's tests::

    class TestPreview(BackendContract):
        spec = PREVIEW

        @pytest.fixture
        def backend(self): return PreviewBackend()

numpy and pytest are imported where they are used, so that importing this module needs neither.
"""

from framegate.core.testing.backends import BackendContract, RecordingContext, gradient_png
from framegate.core.testing.job_store import InMemoryJobStore
from framegate.core.testing.ports import (
    InMemoryArtifactStore,
    InMemoryCharacterStore,
    InMemoryKeyStore,
    InMemorySecretStore,
    StaticMediaIngest,
    StaticVariantMaker,
)
from framegate.core.testing.rates import InMemoryRateStore

__all__ = [
    "BackendContract",
    "InMemoryArtifactStore",
    "InMemoryCharacterStore",
    "InMemoryJobStore",
    "InMemoryKeyStore",
    "InMemoryRateStore",
    "InMemorySecretStore",
    "RecordingContext",
    "StaticMediaIngest",
    "StaticVariantMaker",
    "gradient_png",
]
