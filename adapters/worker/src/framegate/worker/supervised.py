"""``framegate worker`` itself: a small process that keeps a worker running on each device."""

import asyncio
import signal
from collections.abc import Sequence

from framegate.cli.hangup import Hangups
from framegate.cli.worker_supervisor import WorkerSupervisor
from framegate.core.concurrency import cancel_and_wait
from framegate.worker.heartbeat.stop_signals import STOP_SIGNALS


def supervise_workers(
    arguments: Sequence[str], devices: Sequence[str], *, grace: float, hangups: Hangups
) -> bool:
    """Run until a stop signal; return False if a worker ended because the config is wrong.

    A SIGINT after a stop signal ends the workers at once, SIGHUP is passed on to them. ``arguments`` and
    ``grace`` are those of `WorkerSupervisor`. Call it from the main thread.
    """
    return asyncio.run(_supervise(arguments, devices, grace, hangups))


async def _supervise(
    arguments: Sequence[str], devices: Sequence[str], grace: float, hangups: Hangups
) -> bool:
    supervisor = WorkerSupervisor(arguments, devices, grace=grace)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def end(number: signal.Signals) -> None:
        if stop.is_set() and number == signal.SIGINT:
            supervisor.end_now()
        supervisor.wind_down()
        stop.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, end, number)
    hangups.follow(lambda: loop.call_soon_threadsafe(supervisor.pass_on, signal.SIGHUP))
    supervisor.start()
    reasons = [asyncio.create_task(event.wait()) for event in (stop, supervisor.misconfigured)]
    await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
    await supervisor.stop()
    await cancel_and_wait(reasons)
    return not supervisor.misconfigured.is_set()
