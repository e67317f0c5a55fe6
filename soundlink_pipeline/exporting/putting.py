"""Puts files into a store while the next ones are written."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from soundlink_pipeline.exporting.store import Store

# Files that wait in the scratch folder to be put, for each that is being put.
_WAITING = 4


class Putting:
    """Puts files while others are written, and holds so few that the scratch folder stays small."""

    def __init__(self, pool: ThreadPoolExecutor, store: Store) -> None:
        self._pool, self._store = pool, store
        self._under_way: list[Future[None]] = []
        self._number = 0

    def next_number(self) -> int:
        """For a folder of files to put."""
        self._number += 1
        return self._number

    def put(self, file: Path, name: str) -> None:
        """Raises what an earlier one has met."""
        if self._store.workers == 1:
            self._put(file, name)
            return
        self._under_way.append(self._pool.submit(self._put, file, name))
        if len(self._under_way) >= _WAITING * self._store.workers:
            self._under_way.pop(0).result()

    def _put(self, file: Path, name: str) -> None:
        self._store.put(file, name)
        file.unlink(missing_ok=True)

    def finish(self) -> None:
        while self._under_way:
            self._under_way.pop(0).result()

    def give_up(self) -> None:
        for future in self._under_way:
            future.cancel()
