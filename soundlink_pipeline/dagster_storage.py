"""For users' dagster.yaml, which names this module: it is orchestration/event_log.py now. Gone after 0.2."""

from soundlink_pipeline.orchestration.event_log import PooledSqliteEventLog, PooledSqliteStorage

__all__ = ["PooledSqliteEventLog", "PooledSqliteStorage"]
