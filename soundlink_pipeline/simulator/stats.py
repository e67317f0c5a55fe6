"""The requests that the simulator has answered: one record each, never with a key."""

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass
class Record:
    kind: str  # which route: ping, campaigns, campaign, breakdown_export, soundlink_breakdown_export, token, …
    method: str
    path: str
    query: str
    scheme: str  # x-api-key, bearer, both, other, none
    status: int = 0  # 0: no answer (yet)
    organization: str = ""  # whose key or token it came with, or for whom a token was asked for
    bytes: int = 0  # of the body, as handed to the socket
    seconds: float = 0.0  # until the last byte was handed over


class Stats:
    """Thread-safe. A record appears with its status before the first byte of the answer leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[Record] = []

    @property
    def records(self) -> list[Record]:
        with self._lock:
            return list(self._records)

    def add(self, record: Record) -> None:
        with self._lock:
            self._records.append(record)

    def reset(self) -> None:
        with self._lock:
            self._records.clear()

    def count(
        self,
        *,
        path_contains: str = "",
        status: int | None = None,
        kind: str | None = None,
        organization: str | None = None,
    ) -> int:
        """How many requests whose path and query contain the text, with that status, of that kind and organization."""
        return sum(
            path_contains in f"{record.path}?{record.query}"
            and status in (None, record.status)
            and kind in (None, record.kind)
            and organization in (None, record.organization)
            for record in self.records
        )

    def totals(self) -> dict[str, Any]:
        records = self.records
        by_kind: dict[str, Counter[str]] = {}
        for record in records:
            by_kind.setdefault(record.kind, Counter())[str(record.status)] += 1
        return {
            "requests": len(records),
            "bytes": sum(record.bytes for record in records),
            "by_kind": {kind: dict(statuses) for kind, statuses in by_kind.items()},
            "by_status": dict(Counter(str(record.status) for record in records)),
            "by_scheme": dict(Counter(record.scheme for record in records)),
        }
