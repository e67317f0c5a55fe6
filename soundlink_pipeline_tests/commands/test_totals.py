"""`soundlink totals`: says of every campaign whether its rows add up to Soundlink's own totals."""

from __future__ import annotations

from soundlink_pipeline.simulator import Fault, KeyInfo
from soundlink_pipeline_tests.commands.conftest import Folder
from soundlink_pipeline_tests.support.project import KEY


def test_a_difference_is_a_warning_and_all_of_them_are_shown(here: Folder) -> None:
    assert here.soundlink("pull", "--from", "2026-02-10", "--to", "2026-02-12").code == 0
    agrees = here.soundlink("totals")
    assert (agrees.code, agrees.err) == (0, "")
    assert agrees.out.splitlines()[-1] == "The rows of 4 campaigns add up to Soundlink's own totals."
    here.sim.overview_off.update(streams=10, followers=3)
    differs = here.soundlink("totals")
    assert (differs.code, differs.err) == (0, "")
    assert "failed" not in differs.out
    _, said = differs.out.split("warning: the rows differ from Soundlink's own totals\n")
    *lines, what_to_do = said.splitlines()
    assert len(lines) == 8  # more than the UI says in a check's line
    for campaign in here.sim.world.campaigns:
        assert sum(f"({campaign.path_id}), 2026-02-10 to 2026-02-12: " in line for line in lines) == 2
    assert what_to_do.startswith("Nothing else is affected.")


DAYS = ("--from", "2026-02-10", "--to", "2026-02-12")


def test_where_nothing_is_loaded_it_says_that_nothing_was_compared(here: Folder) -> None:
    said = here.soundlink("totals")
    assert (said.code, said.err) == (0, "")
    assert "add up" not in said.out
    assert said.out.splitlines()[-1] == (
        "Nothing was compared and no request made, so the key was not tried: no live campaign has a settled day in the"
        " warehouse. make backfill FROM=… TO=… pulls days; make doctor tries the key."
    )
    assert here.sim.stats.count() == 0
    without = here.soundlink("totals", SOUNDLINK_API_KEY="")
    assert without.code == 1
    assert "SOUNDLINK_API_KEY" in without.err
    assert "Nothing was compared" not in without.out


def test_campaigns_that_cannot_be_compared_are_told_and_a_refused_key_fails_the_command(here: Folder) -> None:
    assert here.soundlink("pull", *DAYS).code == 0
    gone = here.sim.world.campaigns[1]
    here.sim.faults.add(Fault("status", campaign=gone.uuid, status=404, code="campaign_not_found", times=None))
    said = here.soundlink("totals")
    assert (said.code, said.err) == (0, "")
    adds_up, warning = said.out.splitlines()[-2:]
    assert adds_up == "The rows of 3 campaigns add up to Soundlink's own totals."
    assert warning.startswith("warning: 1 campaign could not be compared: the API refuses the request with HTTP 404")
    here.sim.keys[KEY] = KeyInfo(revoked=True)
    said = here.soundlink("totals")
    assert said.code == 1
    (line,) = said.err.splitlines()
    assert line.startswith("4 campaigns could not be compared: this API key was revoked; create a new one")
    assert "add up" not in said.out
    assert "differ" not in said.out
