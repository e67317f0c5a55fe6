"""What a command shows while its run works: a bar for each export in a terminal, a line every 10 s elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from soundlink_pipeline.orchestration.resource import Soundlink
from soundlink_pipeline.pulling.planning import duration
from soundlink_pipeline.pulling.progress import LINE_AFTER_SECONDS, Estimate, ExportProgress
from soundlink_pipeline.pulling.progress import Progress as Pulled
from soundlink_pipeline.wording import counted, size

_REDRAW_SECONDS = 0.2
_BEFORE = "working"
_AFTERWARDS = "checking, building models, publishing"


@contextmanager
def shown(soundlink: Soundlink) -> Iterator[None]:
    """Show, for the block, the progress of whatever step pulls in this process, and for whom it waits before."""
    console = Console(file=sys.stdout)
    ended = threading.Event()
    show = _bars if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(soundlink, ended, console), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(5)


def _bars(soundlink: Soundlink, ended: threading.Event, console: Console) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[done]}"),
        TextColumn("{task.fields[came]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=5, expand=True) as bars:
        waiting = bars.add_task(_BEFORE, total=None, done="", came="")
        tasks = {}
        while True:
            last = ended.wait(_REDRAW_SECONDS)
            progress = soundlink.progress
            for name, export in progress.exports.items():
                if name not in tasks:
                    tasks[name] = bars.add_task(name, total=None, done="", came="")
                done = f"{export.done}/{export.requests}"
                bars.update(tasks[name], completed=export.done, total=export.requests, done=done, came=_came(export))
            pulled = progress.result is not None
            before = progress.note or ("" if tasks else _BEFORE) + progress.waiting()
            description = _AFTERWARDS if pulled else before.removeprefix("; ")
            bars.update(waiting, description=description, visible=bool(description))
            if last:
                bars.remove_task(waiting)
                return


def _lines(soundlink: Soundlink, ended: threading.Event, _: Console) -> None:
    """Nothing is drawn over: each line stands, as in a log file, and says what has changed since the one before."""
    started, estimates, before = time.monotonic(), dict[int, Estimate](), dict[str, int]()
    while not ended.wait(LINE_AFTER_SECONDS):
        progress = soundlink.progress
        estimate = estimates.setdefault(id(progress), Estimate())
        print(f"{duration(time.monotonic() - started, exact=True)}: {_line(progress, estimate, before)}", flush=True)
        before = {name: export.bytes for name, export in progress.exports.items()}


def _line(progress: Pulled, estimate: Estimate, before: Mapping[str, int]) -> str:
    """`before` are the bytes of each export in the line before."""
    if progress.result is not None:
        return _AFTERWARDS
    if not progress.exports:
        return progress.note or _BEFORE + progress.waiting()
    parts = [
        f"{name} {item.done} of {item.requests}, {_came(item, before.get(name, 0))}"
        for name, item in progress.exports.items()
    ]
    return "; ".join(parts) + estimate.words(progress.done, progress.requests) + progress.waiting()


def _came(export: ExportProgress, before: int = 0) -> str:
    return f"{counted(export.rows, 'row')}, {size(export.bytes, before)}"
