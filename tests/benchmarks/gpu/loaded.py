"""One model, built once: first as diffusers' pipeline, then in our backend over the same weights."""

from typing import Any

from framegate.core.plugins import load_object
from framegate.plugins.diffusers.backend import DiffusersBackend
from tests.benchmarks import full_size
from tests.benchmarks.gpu.levers import Levers, Switchboard
from tests.benchmarks.gpu.models import Case, builder, shot_of
from tests.benchmarks.gpu.session import Measured, Session, seconds_of

UNOPTIMISED: dict[str, Any] = {"attention": "native", "compile": False, "offload": "none"}


class Loaded:
    """A model of ``layers`` (None: all of them) on the session's device."""

    backend: DiffusersBackend
    pipeline: Any

    def __init__(self, session: Session, case: Case, *, layers: int | None) -> None:
        self.session = session
        self.case = case
        self.shot = shot_of(case, full_size=session.full_size)
        self._layers = layers
        self._switchboard: Switchboard | None = None

    def build(self) -> Measured:
        """Make the weights on the device; plain diffusers needs no more."""
        session = self.session
        build = builder(self.case, self._layers, full_size=session.full_size)
        full_size.save_configs(build, session.folder / self.case.name)
        dtypes = self.case.dtypes(full_size=session.full_size)

        def built() -> None:
            self.pipeline = full_size.on_device(build, session.device, dtypes)

        seconds = seconds_of(built, session.device)
        self.pipeline.set_progress_bar_config(disable=True)
        return {"s": seconds}

    def load(self) -> Measured:
        """Load the backend over the pipeline's weights, with every optimisation off."""
        session = self.session
        backend: DiffusersBackend = load_object(self.case.backend)(
            str(session.folder / self.case.name), UNOPTIMISED
        )
        with full_size.loading(self.pipeline):
            seconds = seconds_of(lambda: backend.load(str(session.device)), session.device)
        self.backend = backend
        self._switchboard = Switchboard(backend, self.shot, session.folder)
        return {"s": seconds}

    def switch(self, levers: Levers) -> str:
        """Switch the backend's optimisations; return what was chosen."""
        assert self._switchboard is not None
        return self._switchboard.set(levers)

    def close(self) -> None:
        """Free the memory."""
        if self._switchboard is not None:
            self.backend.unload()
        vars(self).clear()
