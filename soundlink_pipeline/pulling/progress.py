"""How far a pull is: counted while it goes on, and put into a line for people now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from soundlink_pipeline.loading.batch import Loaded
from soundlink_pipeline.pulling.outcome import PullResult
from soundlink_pipeline.pulling.planning import PullRequest, duration
from soundlink_pipeline.wording import counted, in_words, size

# A step that only waits (a limit of the API for hours) fills no log: its lines come ever further apart.
LINE_AFTER_SECONDS = 10.0
_LONGEST_GAP_SECONDS = 300.0


@dataclass
class ExportProgress:
    """One export: how many `requests` there are, how many are `done` (refused ones too), and what has come.

    `bytes` are those received so far, also of answers that are still on their way, and of those that were cut off.
    """

    requests: int = 0
    done: int = 0
    rows: int = 0
    bytes: int = 0


@dataclass
class Progress:
    """Of one step. Written by the step's threads, and read by any other at any time.

    `result` is the step's result once there is one, also of a step that fails then. `note` says what the run waits for
    before there is anything to count. `clock` is monotonic, in seconds.
    """

    exports: dict[str, ExportProgress] = field(default_factory=dict)
    result: PullResult | None = None
    note: str = ""
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)
    _waits: dict[str, float] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def plan(self, requests: Iterable[PullRequest]) -> None:
        """More requests are going to be made."""
        with self._lock:
            exports = dict(self.exports)  # a new one, so that a reader never meets a change
            for request in requests:
                exports.setdefault(request.export.name, ExportProgress()).requests += 1
            self.exports = exports

    def receive(self, export: str, size: int) -> None:
        with self._lock:
            self.exports.setdefault(export, ExportProgress()).bytes += size

    def answer(self, export: str) -> None:
        """A request of an export has ended, well or not."""
        with self._lock:
            self.exports[export].done += 1

    def load(self, loaded: Iterable[Loaded]) -> None:
        with self._lock:
            for item in loaded:
                if item.delivery.export in self.exports:
                    self.exports[item.delivery.export].rows += item.rows

    def wait(self, account: str, seconds: float) -> None:
        """Requests wait so long, for a limit or since the API could not answer: of an account, without name of all."""
        with self._lock:
            self._waits = {**self._waits, account: self.clock() + seconds}

    def waiting(self) -> str:
        """`; account b waits until the API may be asked again`, or nothing."""
        names = sorted(name for name, until in self._waits.items() if until > self.clock())
        if not names:
            return ""
        who = f"account {in_words(names)} " if any(names) else ""
        who, verb = (f"accounts {in_words(names)} ", "wait") if len(names) > 1 else (who, "waits")
        return f"; {who}{verb} until the API may be asked again"

    @property
    def requests(self) -> int:
        return sum(export.requests for export in self.exports.values())

    @property
    def done(self) -> int:
        return sum(export.done for export in self.exports.values())

    @property
    def rows(self) -> int:
        return sum(export.rows for export in self.exports.values())

    @property
    def bytes(self) -> int:
        return sum(export.bytes for export in self.exports.values())


class Lines:
    """Lines about a `Progress`: one is due every 10 s for as long as anything happens. `clock` is monotonic.

    No line is like the one before: however slow a stream is, what has arrived since shows.
    """

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._last = self._changed = clock()
        self._gap = LINE_AFTER_SECONDS
        self._seen = (0, 0, 0)
        self._estimate = Estimate(clock)

    def until_next(self) -> float:
        """Seconds until a line may be due."""
        return max(self._last + LINE_AFTER_SECONDS - self._clock(), 0.0) or LINE_AFTER_SECONDS

    def due(self) -> bool:
        gap = self._gap if self._state() == self._seen else LINE_AFTER_SECONDS
        return self._clock() - self._last >= gap

    def next(self) -> str:
        """The line for now, which puts off the next one."""
        progress, now, state = self._progress, self._clock(), self._state()
        received = size(progress.bytes, self._seen[2])
        if state == self._seen:
            self._gap = min(2 * self._gap, _LONGEST_GAP_SECONDS)
            silent = f", nothing has arrived for {duration(now - self._changed)}"
        else:
            self._seen, self._changed, self._gap, silent = state, now, LINE_AFTER_SECONDS, ""
        self._last = now
        return (
            f"{progress.done} of {counted(progress.requests, 'export')} fetched, {counted(progress.rows, 'row')}"
            f" loaded, {received} received"
            + silent
            + self._estimate.words(progress.done, progress.requests)
            + progress.waiting()
        )

    def _state(self) -> tuple[int, int, int]:
        return self._progress.done, self._progress.rows, self._progress.bytes


class Estimate:
    """How long a number of requests still takes, by those that are done. One that has run out is not repeated."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._known = (0, 0)
        self._end: float | None = None

    def words(self, done: int, total: int) -> str:
        """`, about 40 s to go`, or nothing where it is not known."""
        now = self._clock()
        if (done, total) != self._known:
            self._known = (done, total)
            self._end = now + (now - self._started) / done * (total - done) if done else None
        left = self._end - now if self._end is not None and done < total else 0.0
        return f", about {duration(left)} to go" if left >= 1 else ""
