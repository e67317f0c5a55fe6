"""Ctrl-C, `kill` and a terminal that is closed: all end a command in the same way."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from soundlink_pipeline.commands.outcome import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def ended_by_signals(line: str) -> Iterator[None]:
    """A signal ends the block with KeyboardInterrupt, and that as Interrupted with `line`, whatever came of it inside.

    Also where a script has started the command in the background: a shell has Ctrl-C ignored there.
    """
    received = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal received
        received = True
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except BaseException as error:
        if received or isinstance(error, KeyboardInterrupt):  # a run's steps take signals themselves
            raise Interrupted(line) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals() -> None:
    """Until the end of `ended_by_signals`: what is being ended is ended whole."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
