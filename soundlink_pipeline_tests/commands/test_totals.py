"""`soundlink totals`: says of every campaign whether its rows add up to Soundlink's own totals."""

from __future__ import annotations

from soundlink_pipeline_tests.commands.conftest import Folder


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
