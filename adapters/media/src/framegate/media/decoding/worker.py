"""Run as a decoder process: perform tasks from standard input, and write replies to standard output."""

import os
import sys
import traceback
from typing import BinaryIO

from framegate.core.errors import InvalidMedia
from framegate.media.decoding.confinement import (
    confine,
    die_with_parent,
    end_task,
    resident_memory,
    start_task,
)
from framegate.media.decoding.tasks import (
    HEADER_BYTES,
    Crashed,
    DecoderLimits,
    Envelope,
    Exhausted,
    MediaInfo,
    Refused,
    Reply,
    SystemFailure,
    decode,
    decode_task,
    encode,
)

_MAX_DETAILS = 8_000


def main() -> None:
    """Perform tasks until the parent closes standard input. The arguments are its id, and the limits."""
    parent, limits = int(sys.argv[1]), decode(bytes.fromhex(sys.argv[2]), DecoderLimits)
    die_with_parent(parent)
    tasks, replies = _take_pipes()
    confine(memory=limits.memory)
    from framegate.media.decoding.operations import perform  # Pillow, PyAV and numpy: what takes long

    replies.write(encode(Envelope(MediaInfo(0, 0))))  # ready
    count = 0
    while header := tasks.read(HEADER_BYTES):
        task = decode_task(tasks.read(int.from_bytes(header, "big")))
        start_task(limits.timeout)
        reply: Reply
        try:
            reply = perform(task)
        except MemoryError:
            reply = Exhausted("memory")
        except InvalidMedia as error:
            reply = Refused(error.message, error.param)
        except OSError as error:
            reply = SystemFailure(error.errno) if error.errno else _crashed()
        except Exception:
            reply = _crashed()
        end_task()
        count += 1
        retiring = (
            isinstance(reply, Exhausted)
            or count >= limits.max_tasks
            or resident_memory() > limits.retire_above
        )
        replies.write(encode(Envelope(reply, retiring)))
        if retiring:
            return


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return the pipes to the parent, which no library that reads or prints can get hold of."""
    tasks = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    return tasks, replies


def _crashed() -> Crashed:
    return Crashed(traceback.format_exc()[-_MAX_DETAILS:])


if __name__ == "__main__":
    main()
