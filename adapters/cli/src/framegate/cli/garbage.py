"""Garbage collection while a process starts: hardly anything that it imports and builds then is garbage."""

import gc

import click


def pause_collection() -> None:
    """Collect nothing until `resume_collection`, or the end of the command.

    It saves a tenth of the time that a start takes.
    """
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)


def resume_collection() -> None:
    """Collect what the start has left, and from now on only what comes later. It takes about 0.1 s.

    What is there by now stays, and each look through it would hold up requests for 70 ms.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
