"""How an API process follows the configs that its parent names."""

from pathlib import Path

import pytest

from framegate.cli.app_context import AppContext, create_context
from framegate.cli.config_file import Config, read_config, require_valid
from framegate.cli.own_workers import OwnWorkersReport
from framegate.core.errors import ConfigError
from framegate.core.settings import QueueSettings
from framegate.server.api_processes.child import context_of
from framegate.server.api_processes.config_follower import ConfigFollower
from framegate.server.api_processes.messages import Conclude, Prepare, Prepared, Start
from framegate.server.auth.key_ring import KeyRing

FIRST, SECOND = "[queue]\nmax_queued = 1\n", "[queue]\nmax_queued = 2\n"
WRONG = "[queue]\nmax_queud = 2\n"


def read(text: str) -> Config:
    return require_valid(read_config(Path("some.toml"), {}, text=text))


class Process:
    """An API process whose app only notes what is asked of it; it can't serve configs with ``refused``."""

    def __init__(self, *, refused: str = "") -> None:
        self.did: list[str] = []
        self.answers: list[Prepared] = []
        self._refused = refused
        first = read(FIRST)
        self._follower = ConfigFollower(
            create_context(first.settings, first.origins),
            self,
            KeyRing(()),
            read_config=read,
            reply=self.answers.append,
            end=lambda: self.did.append("end"),
        )

    async def receive(self, *messages: Prepare | Conclude) -> None:
        for message in messages:
            self._follower.receive(message)
        await self._follower.catch_up()

    async def prepare(self, context: AppContext) -> None:
        self.did.append(f"prepare {context.settings.queue.max_queued}")
        if self._refused and self._refused in context.origins.text:
            raise ConfigError("That isn't possible.")

    def apply(self) -> None:
        self.did.append("apply")

    async def discard(self) -> None:
        self.did.append("discard")


async def test_a_config_takes_effect_when_the_parent_says_so() -> None:
    process = Process()
    await process.receive(Prepare(1, SECOND))
    assert (process.did, process.answers) == (["prepare 2"], [Prepared(1, usable=True)])
    await process.receive(Conclude(1, apply=True))
    assert process.did == ["prepare 2", "apply"]
    # It starts from what is in force: the same again changes nothing, and can be used of course.
    await process.receive(Prepare(2, SECOND), Conclude(2, apply=True))
    assert (process.did, process.answers[1:]) == (["prepare 2", "apply"], [Prepared(2, usable=True)])


async def test_a_config_that_others_refuse_is_forgotten() -> None:
    process = Process()
    await process.receive(Prepare(1, SECOND), Conclude(1, apply=False))
    assert process.did == ["prepare 2", "discard"]
    await process.receive(Prepare(2, SECOND), Conclude(2, apply=True))
    assert process.did[2:] == ["prepare 2", "apply"]


@pytest.mark.parametrize(("text", "refused"), [(WRONG, ""), (SECOND, "max_queued = 2")])
async def test_what_it_cannot_use_is_answered_and_ends_it_if_the_others_serve_by_it(
    text: str, refused: str
) -> None:
    process = Process(refused=refused)
    await process.receive(Prepare(1, text))
    assert process.answers == [Prepared(1, usable=False)]
    assert process.did[-1:] == ["discard"]
    await process.receive(Conclude(1, apply=False))
    assert "end" not in process.did
    await process.receive(Prepare(2, text), Conclude(2, apply=True))
    assert process.did[-1] == "end"
    assert "apply" not in process.did


async def test_it_never_serves_by_a_config_of_another_number() -> None:
    process = Process()
    await process.receive(Prepare(1, SECOND), Conclude(2, apply=True))
    assert process.did == ["prepare 2", "end"]


def start(config: str, reloaded: str | None = None) -> Start:
    return Start(config, reloaded, OwnWorkersReport())


def test_a_process_starts_with_what_can_change_of_the_later_config() -> None:
    context = context_of(start("[server]\nport = 1\n[queue]\nmax_queued = 1", "[server]\nport = 2\n"), read)
    assert (context.settings.server.port, context.settings.queue.max_queued) == (
        1,
        QueueSettings().max_queued,
    )


@pytest.mark.parametrize("reloaded", [None, "\n\n" + SECOND], ids=["at first", "after a reload"])
def test_errors_name_the_line_of_the_config_in_force(reloaded: str | None) -> None:
    context = context_of(start(FIRST, reloaded), read)
    line = 4 if reloaded else 2
    with pytest.raises(ConfigError, match=rf"^some\.toml:{line}: queue"), context.origins.locating():
        raise ConfigError("what the queue's server says", key=("queue", "max_queued"))
    wrong = "[aliases.a]\nmodel = 'none'\n"
    with pytest.raises(ConfigError, match=r"^some\.toml:2: aliases\.a"):
        context_of(start(FIRST if reloaded else wrong, wrong if reloaded else None), read)
