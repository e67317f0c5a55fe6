"""What the operator reads of a run that met faults of the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.simulator import EXPORTS as EXPORT_NAMES
from soundlink_pipeline.simulator import Fault
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS
from soundlink_pipeline_tests.support.project import KEY, each_day, failure_of, project, truth
from soundlink_pipeline_tests.trials.network.troubles import BROKE


def test_the_operator_reads_exactly_what_is_missing_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One real run, in which six requests meet six different faults for good."""
    quick = {"tries": 2, "backoff": 0.001}
    defaults = SoundlinkClient.__init__.__kwdefaults__ or {}
    monkeypatch.setattr(SoundlinkClient.__init__, "__kwdefaults__", {**defaults, **quick})
    with project(tmp_path) as here:
        # As of March 2 the first four campaigns have rows of these days in both exports.
        names = [(export, here.sim.world.campaigns[number]) for export in EXPORT_NAMES for number in range(3)]
        kinds: list[tuple[str, dict[str, Any]]] = [
            ("cut", {}),
            ("short", {}),
            ("html", {}),
            ("status", {"status": 503}),
            ("disconnect", {}),
            ("long", {}),
        ]
        reasons = [
            BROKE,
            "rows of the",
            "text/html where NDJSON was due",
            "HTTP 503",
            BROKE,
            "refused: the file",
        ]
        for (name, campaign), (kind, params) in zip(names, kinds, strict=True):
            here.sim.faults.add(Fault(kind, export=name, campaign=campaign.uuid, times=None, **params))
        failed = here.refresh("2026-02-24", "2026-02-26")
        told = failure_of(failed)
        pulls = len({record.path for record in here.sim.stats.records if record.kind.endswith("_export")})
        assert told.startswith(f"6 of {pulls} pulls failed; the other {pulls - 6} are loaded.")
        lines = told.splitlines()[1:]
        for (name, campaign), reason in zip(names, reasons, strict=True):
            (line,) = (line for line in lines if line.startswith(f"{name} of ") and campaign.path_id in line)
            assert ", 2026-02-24 to 2026-02-26: " in line
            assert reason in line
        assert len(lines) == 6
        assert "Traceback" not in told
        assert KEY not in told
        without = {name: {campaign.uuid for at, campaign in names if at == name} for name in EXPORT_NAMES}
        days = each_day("2026-02-24", "2026-02-26", here.sim.clock.now())
        for export in CAMPAIGN_EXPORTS:
            at = export.column_names.index("campaign_id")
            expected = truth(here.sim.world, export, days)
            assert here.table(export) == [row for row in expected if row[at] not in without[export.name]]
        here.sim.faults.clear()
        here.sim.stats.reset()
        again = here.resume(failed)
        assert again.success, failure_of(again)
        assert len(here.sim.stats.records) == 6
        for export in CAMPAIGN_EXPORTS:
            assert here.table(export) == truth(here.sim.world, export, days)
        assert not any(KEY.encode() in content for _, content in here.texts())


def test_the_operator_reads_why_there_is_no_listing(tmp_path: Path) -> None:
    with project(tmp_path) as here:
        here.sim.faults.add(Fault("html", match="/v1/campaigns?", times=None))
        told = failure_of(here.refresh("2026-02-24", "2026-02-26"))
        assert told == "/v1/campaigns answered text/html where JSON was due"
        assert len(here.sim.stats.records) == 1
