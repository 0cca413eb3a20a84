"""The config of a worker, which is read again on SIGHUP."""

from collections.abc import Callable, Collection, Mapping, Sequence

import structlog

from framegate.cli.app_context import AppContext, create_context
from framegate.core.errors import FramegateError
from framegate.core.models import ModelSpec
from framegate.core.reloading import FIXED_IN_WORKER, plan_reload
from framegate.worker.model_files import ModelFiles

log = structlog.get_logger(__name__)


class WorkerConfig:
    """The config in force: the models named ``names`` (all, if none is) and the plugins.

    A new config takes effect from the next job on: models whose specs have changed are loaded again for it,
    the others stay loaded.
    """

    def __init__(self, context: AppContext, names: Collection[str]) -> None:
        self._names = names
        self._adopt(context)

    def _adopt(self, context: AppContext) -> None:
        self._specs = context.models_for(self._names)
        self._files = ModelFiles(self._specs)
        self.context = context

    def specs(self) -> Mapping[str, ModelSpec]:
        """Return the specs of the models, by id."""
        return self._specs()

    def health_findings(self) -> Sequence[str]:
        """Return what currently keeps models from working, a sentence each."""
        return [*self.context.plugins.health_findings(check_network=True), *self._files.find_missing()]

    def reload(self, read_context: Callable[[], AppContext]) -> None:
        """Read the config again; one that is wrong changes nothing."""
        try:
            reload = plan_reload(self.context.settings, read_context().settings, fixed=FIXED_IN_WORKER)
            self._adopt(create_context(reload.settings))
        except FramegateError as error:
            for line in error.message.splitlines():
                log.error("config_not_reloaded", reason=line)
        except Exception as error:  # a plugin's, for example: the worker goes on as it was
            log.error("config_not_reloaded", exc_info=error)
        else:
            log.info("config_reloaded", models=sorted(self.specs()))
            if reload.needs_restart:
                log.warning("config_needs_restart", settings=list(reload.needs_restart))
