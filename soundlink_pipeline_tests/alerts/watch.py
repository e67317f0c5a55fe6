"""The sensor of alerts, evaluated tick by tick with its own cursor, as the daemon does; and runs for it to tell of."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from soundlink_pipeline.alerts.sensor import build_alerts

UI = "http://dagster.example:3000"
FAILED_PULLS = (
    "2 of 16 pulls failed; the other 14 are loaded.\n"
    "campaign_country_daily of Sleep Playlist, 2026-01-03: the API failed with HTTP 503\n"
    "campaign_country_daily of Ünïcode 🎧 Anthem, 2026-01-03: rate limited"
)


@dataclass
class Watch:
    instance: dg.DagsterInstance
    url: str | None
    later: timedelta = timedelta()
    cursor: str | None = None
    said: list[str] = field(default_factory=list)

    def tick(self) -> Any:
        sensor = build_alerts(lambda: self.url, UI, lambda: datetime.now(UTC) + self.later)
        with dg.build_sensor_context(self.instance, self.cursor, sensor_name=sensor.name) as context:
            done = sensor.evaluate_tick(context)
        self.cursor = done.cursor
        self.said = (done.skip_message or "").splitlines()
        return done

    def undelivered(self) -> str:
        """What a tick says of an alert that it could not deliver; there must be one."""
        self.tick()
        assert " not delivered: " in self.said[0], self.said
        return self.said[0]

    def log_of(self, run_id: str) -> list[str]:
        """What stands in the run's own log about its alert."""
        entries = self.instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
        messages = [entry.dagster_event.message or "" for entry in entries if entry.dagster_event]
        return [message for message in messages if "lert" in message]

    def wait(self, **time: float) -> None:
        self.later += timedelta(**time)


def run_job(instance: dg.DagsterInstance, *errors: BaseException, name: str = "daily_refresh", **tags: str) -> str:
    """A run with one step per error, each of which raises it; the id of the run."""

    def step(number: int, error: BaseException) -> dg.OpDefinition:
        @dg.op(name=f"step_{number}")
        def raising() -> None:
            raise error

        return raising

    @dg.op
    def fine() -> None:
        pass

    @dg.job(name=name, executor_def=dg.in_process_executor)
    def job() -> None:
        fine()
        for number, error in enumerate(errors):
            step(number, error)()

    spoken = {key.replace("__", "/"): value for key, value in tags.items()}
    return job.execute_in_process(instance=instance, raise_on_error=False, tags=spoken).run_id


RANGE = {
    "dagster__asset_partition_range_start": "2026-01-03",
    "dagster__asset_partition_range_end": "2026-01-10",
}


def run_check(
    instance: dg.DagsterInstance, severity: dg.AssetCheckSeverity, **result: Any
) -> dg.ExecuteInProcessResult:
    """A run that succeeds, with a check that does not (unless told)."""

    @dg.asset
    def daily() -> None:
        pass

    @dg.asset_check(asset=daily, name="data_tests")
    def data_tests() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(**{"passed": False, "severity": severity, "metadata": {"bad rows": 3}, **result})

    done = dg.materialize([daily, data_tests], instance=instance)
    assert done.success
    return done
