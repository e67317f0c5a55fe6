"""What has been sent to whom: so that no restart, no retry and no second process sends it again.

An SQLite file in the data folder. What is to be sent is claimed first, and the claim becomes final once it is sent; a
failed sending gives it back. A claim that was never finished belongs to a process that was killed while it sent:
nobody knows whether the message arrived, and it is not sent again in the same period.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

FILE = "sent.sqlite"
_WAIT_SECONDS = 10.0
_KEPT = timedelta(days=120)
_TABLE = """
    create table if not exists sent (
        kind text, receiver integer, period text, item text, state text, at text,
        primary key (kind, receiver, period, item)
    ) without rowid
"""


@dataclass(frozen=True)
class Slot:
    """What is sent once in a period: the kind of message, the receiver by its place in its setting, and the period."""

    kind: str
    receiver: int
    period: str


class SentLog:
    """The log in a data folder. Every method raises sqlite3.Error where the file cannot be read or written."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def claim(self, slot: Slot, items: Iterable[str], now: datetime) -> list[str]:
        """Those of the items that nobody has in this slot, or that were refused in it; from now on they are claimed."""
        moment = now.astimezone(UTC).isoformat(timespec="seconds")
        values = [(slot.kind, slot.receiver, slot.period, item, moment) for item in items]
        with self._changing() as connection:
            oldest = (now.astimezone(UTC) - _KEPT).isoformat(timespec="seconds")
            connection.execute("delete from sent where at < ?", [oldest])
            own = "kind = ? and receiver = ? and period = ?"
            connection.execute(
                f"delete from sent where state = 'refused' and {own}", [slot.kind, slot.receiver, slot.period]
            )
            return [
                value[3]
                for value in values
                if connection.execute("insert or ignore into sent values (?, ?, ?, ?, 'sending', ?)", value).rowcount
            ]

    def finish(self, slot: Slot, items: Iterable[str]) -> None:
        """They were sent."""
        self._each("update sent set state = 'sent' where", slot, items)

    def release(self, slot: Slot, items: Iterable[str], *, refused: bool = False) -> None:
        """They were not sent: whoever claims them next may try. `refused`: only a person should, for it will fail."""
        self._each("update sent set state = 'refused' where" if refused else "delete from sent where", slot, items)

    def states(self, kind: str, period: str) -> dict[int, str]:
        """The state of a period's one item, of each receiver: `sent`, `refused`, or `sending`, now or when killed."""
        if not self._path.exists():
            return {}
        with closing(sqlite3.connect(self._path, timeout=_WAIT_SECONDS)) as connection:
            found = connection.execute("select receiver, state from sent where kind = ? and period = ?", [kind, period])
            return dict(found.fetchall())

    def _each(self, statement: str, slot: Slot, items: Iterable[str]) -> None:
        with self._changing() as connection:
            statement += " kind = ? and receiver = ? and period = ? and item = ?"
            connection.executemany(statement, [(slot.kind, slot.receiver, slot.period, item) for item in items])

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute(_TABLE)
            connection.execute("begin immediate")
            with connection:
                yield connection
