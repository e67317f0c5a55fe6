"""The Dagster UI as an operator uses it, in a real browser: lineage, a backfill, a failure, checks, pictures."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.simulator import BREAKDOWN, Fault
from soundlink_pipeline_tests.processes.story import KEY
from soundlink_pipeline_tests.support.deployment import BIN, TODAY, Deployment, process_environment, until
from soundlink_pipeline_tests.support.exports import CAMPAIGN_EXPORTS

expect = pytest.importorskip("playwright.sync_api", reason="needs playwright: make browser installs it").expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

DESK = {"width": 1440, "height": 900}
# For the whole graph at a scale where nodes tell their names: what is outside the window is not drawn.
WALL = {"width": 6400, "height": 9600}
SLOW = 60_000
# Dagster's daemon looks after a backfill every half minute.
BACKFILL = 150_000
FOLLOW = "path => { history.pushState({}, '', path); dispatchEvent(new PopStateEvent('popstate', {state: {}})) }"
EXPORT_NAMES = [export.name for export in EXPORTS]


@dataclass
class Screen:
    """A browser's page on the UI, and all that it has said and asked meanwhile."""

    page: Any
    url: str
    folder: Path
    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("requestfailed", self._request_failed)
        self.page.on("request", self._request)
        self.page.on("response", self._response)
        self.page.on("websocket", lambda socket: socket.on("framereceived", self._frame))

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.said.append(message.text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.elsewhere.append(request.url)

    def _request_failed(self, request: Any) -> None:
        # Aborted is what the browser itself took back, such as a poll under way when another page is opened. A server
        # that hangs up or is gone has other names: ERR_EMPTY_RESPONSE, ERR_CONNECTION_REFUSED.
        if request.failure != "net::ERR_ABORTED":
            self.failed.append(f"{request.failure} {request.url}")

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.failed.append(f"{response.status} {response.url}")

    def _frame(self, payload: str | bytes) -> None:
        self.frames.append(payload if isinstance(payload, str) else payload.decode(errors="replace"))

    def open(self, section: str) -> None:
        """From the start page, by the navigation on the left, where a link's name begins with that of its icon."""
        self.page.goto(self.url)
        self.page.get_by_role("link", name=re.compile(rf"\b{section}$")).first.click()

    def open_asset(self, name: str, tab: str = "Overview") -> None:
        if self.page.url.startswith(self.url):  # as a link does: to start the whole UI anew takes seconds
            self.page.evaluate(FOLLOW, f"/assets/{name}")
        else:
            self.page.goto(f"{self.url}/assets/{name}")
        self.page.get_by_role("tab", name=tab, exact=True).click()

    def shoot(self, name: str) -> None:
        """Keep what is to be seen now, and look for the key in it."""
        self.page.screenshot(path=self.folder / f"{name}.png")
        assert KEY not in self.page.content()

    def row(self, key: str) -> Any:
        """The row of a table of metadata."""
        return _row_of(self.page, key, self.page)

    def show_in_dialog(self, key: str, link: str = "Show Markdown") -> Any:
        """What is behind the link in the metadata `key`; too long for the table, it opens in a dialog."""
        self.row(key).get_by_text(link).click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        return dialog


def _row_of(place: Any, key: str, page: Any) -> Any:
    return place.get_by_role("row").filter(has=page.get_by_text(key, exact=True))


@pytest.fixture
def screen(browser: Any, here: Deployment, tmp_path: Path) -> Iterator[Screen]:
    """A fresh browser window. Whatever a test looks at in it: no error, nothing asked of others, no key."""
    answers = tmp_path / "answers.har"
    # Nothing glides, and a sixteenth of the dots: the graph on the WALL would be drawn for half of a test's time.
    looks = {"viewport": DESK, "device_scale_factor": 0.25, "reduced_motion": "reduce"}
    context = browser.new_context(**looks, record_har_path=answers, record_har_url_filter="**/graphql*")
    context.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    made = Screen(context.new_page(), here.url, tmp_path)
    yield made
    made.shoot("last")
    context.close()
    assert made.said == []
    assert made.failed == []
    assert made.elsewhere == []
    recorded = answers.read_text(encoding="utf-8")
    assert KEY not in recorded
    assert not any(KEY in frame for frame in made.frames)
    bodies = [entry["response"]["content"].get("text") for entry in json.loads(recorded)["log"]["entries"]]
    told = [json.loads(body) for body in bodies if body]
    assert len(told) > 5
    assert [answer["errors"] for answer in told if answer.get("errors")] == []


def ended(here: Deployment, run_id: str) -> str:
    return until(
        lambda: status if (status := here.status(run_id)) in ("SUCCESS", "FAILURE", "CANCELED") else None,
        "the run ends",
    )


def days_ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def test_the_lineage_goes_from_the_api_to_the_published_file(here: Deployment, screen: Screen) -> None:
    asked = "{assetNodes {assetKey {path} groupName dependencyKeys {path}}}"
    assets = {"/".join(node["assetKey"]["path"]): node for node in here.graphql(asked)["assetNodes"]}
    upstream = {name: {"/".join(key["path"]) for key in node["dependencyKeys"]} for name, node in assets.items()}
    groups = {name: node["groupName"] for name, node in assets.items()}
    assert set(groups.values()) >= {"sources", "exports", "staging", "marts", "published"}

    def places() -> dict[str, float]:
        """How far to the right each drawn group and asset begins, all at one moment."""
        names = screen.page.locator("foreignObject [data-tooltip]")
        left = "name => [name.dataset.tooltip, name.getBoundingClientRect().left]"
        return dict(names.evaluate_all(f"names => names.map({left})"))

    screen.open("Lineage")
    for group in set(groups.values()):
        expect(screen.page.locator(f"foreignObject [data-tooltip='{group}']")).to_be_visible()
    screen.shoot("groups")
    place = places()
    for name, group in groups.items():
        for before in upstream[name]:
            assert groups[before] == group or place[groups[before]] < place[group], (before, name)

    screen.page.mouse.click(800, 800, button="right")
    screen.page.get_by_role("menuitem", name="Expand all groups").click()
    screen.page.set_viewport_size(WALL)
    screen.page.reload()
    expect(screen.page.locator("foreignObject [data-tooltip='published_database']")).to_be_visible()
    for _ in range(5):
        if assets.keys() <= places().keys():
            break
        screen.page.get_by_role("button").filter(has=screen.page.get_by_role("img", name="zoom_out")).click()
        screen.page.wait_for_timeout(500)  # the graph glides
    place = places()
    assert assets.keys() - place.keys() == set()
    screen.shoot("assets")
    for name, earlier in upstream.items():
        assert [other for other in earlier if place[other] >= place[name]] == [], name
    # What nothing stands before is the API, or an analyst's own file; and what nothing comes after is the file.
    first = {name for name, before in upstream.items() if not before}
    assert {groups[name] for name in first - {"stg_distributor_statements"}} == {"sources"}
    # Soundlink's own totals are compared with, and feed nothing.
    ends = {name for name in assets if not any(name in before for before in upstream.values())}
    assert ends == {"published_database", "campaign_totals"}


def test_a_range_chosen_in_the_dialog_is_backfilled_and_turns_green(here: Deployment, screen: Screen) -> None:
    start, end = days_ago(60), days_ago(50)
    page = screen.page
    page.set_viewport_size({"width": 1440, "height": 3200})  # rows that are out of sight are not drawn
    screen.open("Catalog")
    for name in EXPORT_NAMES:
        link = page.locator(f"a[href*='/assets/{name}']")
        # The row is the innermost box that has both; its box to tick is drawn over the real one.
        row = page.locator("div").filter(has=link).filter(has=page.get_by_role("checkbox")).last
        row.locator("label").first.click()
    page.get_by_role("button", name=f"Materialize selected ({len(EXPORT_NAMES)})").click()
    dialog = page.get_by_role("dialog").filter(has_text="Partition selection")
    sure = page.get_by_role("button", name="Confirm", exact=True)
    expect(dialog.or_(sure).first).to_be_visible()
    if sure.is_visible():  # asked for as long as the campaigns were never listed
        sure.click()
    wanted = dialog.get_by_role("textbox").first
    wanted.fill(f"[{start}...{end}]")
    wanted.press("Enter")
    expect(dialog.get_by_text("11 partitions", exact=True)).to_be_visible()
    screen.shoot("dialog")
    dialog.get_by_role("button", name="Launch backfill").click()
    expect(page.get_by_text("Created backfill")).to_be_visible()
    page.get_by_role("button", name="View", exact=True).or_(page.get_by_role("link", name="View", exact=True)).click()
    page.wait_for_url("**/runs/b/*")
    backfill = page.url.split("?")[0].rpartition("/")[2]
    status = page.get_by_text("Status", exact=True).locator("..")
    expect(status).to_contain_text("Succeeded", timeout=BACKFILL)
    screen.shoot("backfill")
    page.get_by_role("tab", name="Runs", exact=True).click()
    expect(page.get_by_text("Success", exact=True)).to_have_count(1)
    assert [run["status"] for run in here.runs() if run["tags"].get("dagster/backfill") == backfill] == ["SUCCESS"]

    for name in EXPORT_NAMES:
        screen.open_asset(name, "Partitions")
        shown = page.get_by_placeholder(re.compile("^ex: "))
        expect(shown).not_to_have_value("")
        shown.fill(f"[{start}...{end}]")
        shown.press("Enter")
        expect(page.get_by_text("11 Partitions Selected")).to_be_visible()
        expect(page.get_by_text("Materialized (11)")).to_be_visible()
        expect(page.get_by_text("Missing (0)")).to_be_visible()
        expect(page.get_by_text("Failed (0)")).to_be_visible()
        screen.shoot(f"partitions of {name}")


def test_a_failed_run_tells_its_reason_without_a_click(here: Deployment, screen: Screen) -> None:
    refused = here.sim.world.campaigns[0]
    here.sim.faults.add(
        Fault("status", export=BREAKDOWN, campaign=refused.uuid, times=None, status=404, code="campaign_not_found")
    )
    run_id = here.launch(days_ago(105), days_ago(102))
    assert ended(here, run_id) == "FAILURE"
    here.sim.faults.clear()

    screen.open("Runs")
    expect(screen.page.get_by_text("Failure", exact=True).first).to_be_visible()
    screen.shoot("runs")
    screen.page.get_by_role("link", name=run_id[:8]).click()
    reason = screen.page.get_by_text("code campaign_not_found").last
    expect(reason).to_be_in_viewport()
    screen.shoot("failure")
    said = reason.inner_text()
    assert f"{BREAKDOWN} of " in said
    assert refused.path_id in said
    assert f"{days_ago(105)} to {days_ago(102)}" in said
    assert re.search(r"requestId [0-9a-f-]{36}", said)
    assert "re-execute the run from failure" in said


def test_checks_that_warn_and_that_pass_are_told_apart_and_say_what_to_do(here: Deployment, screen: Screen) -> None:
    here.sim.faults.add(Fault("extra_field", export=BREAKDOWN, times=None, fields={"saves": 3}))
    start, end = days_ago(42), days_ago(40)
    assert ended(here, here.launch(start, end)) == "SUCCESS"
    here.sim.faults.clear()

    page = screen.page
    screen.open_asset(BREAKDOWN, "Checks")

    def look_at(check: str, result: str, icon: str) -> None:
        page.get_by_title(check, exact=True).first.click()
        tag = page.get_by_text("Evaluation result", exact=True).locator("..")
        expect(tag.get_by_text(result, exact=True)).to_be_visible()
        expect(tag.get_by_role("img", name=icon)).to_be_visible()
        expect(screen.row("window")).to_contain_text(f"{start} to {end}")

    look_at("primary_key_unique", "Passed", "check_circle")
    expect(screen.row("bad rows")).to_contain_text("0")
    screen.shoot("passed")
    look_at("no_unknown_fields", "Failed", "warning_outline")
    expect(page.get_by_text("a warning; everything else goes on")).to_be_visible()
    expect(screen.row("what to do")).to_contain_text("contracts/")
    screen.shoot("warned")
    sample = screen.show_in_dialog("sample")
    expect(sample).to_contain_text("saves")
    expect(sample).to_contain_text(here.sim.world.campaigns[0].uuid)


# What a plot draws, as Chart.js was given it: a value by partition, or null.
DRAWN = """canvas => {
    let node = canvas[Object.keys(canvas).find(key => key.startsWith('__reactFiber'))]
    while (!node.memoizedProps?.data?.datasets) node = node.return
    const {labels, datasets} = node.memoizedProps.data
    return datasets[0].data.map((point, at) => [labels[at], Number.isFinite(point.y) ? point.y : null])
}"""


def test_an_assets_page_begins_with_what_matters_and_each_day_is_in_the_plots_and_the_events(
    here: Deployment, screen: Screen
) -> None:
    start, end = days_ago(14), days_ago(1)
    assert ended(here, here.launch(start, end)) == "SUCCESS"

    page = screen.page
    for export in CAMPAIGN_EXPORTS:
        screen.open_asset(export.name)
        picture = page.get_by_role("img", name=re.compile(f" of {export.name}, newest days$")).first
        expect(picture).to_be_in_viewport()
        assert picture.evaluate("image => image.complete && image.naturalWidth > 200")
        shown = screen.row("last run")
        expect(shown).to_contain_text(f"{start} to {end}")
        # The columns are the last of all.
        keys = page.get_by_role("row").locator("td:first-child").all_inner_texts()
        matters = ["last run", "rows", "requests", "last days", "newest rows", "columns"]
        assert [key for key in keys if key in matters] == matters
        assert keys[-1] == "columns"
        ((rows,),) = here.query(f"select count(*) from {export.name} where report_date = '{end}'")
        assert rows > 0
        expect(screen.row("rows").get_by_text(str(rows), exact=True)).to_be_visible()
        expect(screen.row("settled").get_by_text("false", exact=True)).to_be_visible()
        preview = screen.show_in_dialog("newest rows")
        expect(preview).to_contain_text(str(end))
        preview.get_by_role("button", name="Close").click()
        expect(preview).to_have_count(0)
        columns = screen.show_in_dialog("columns", "Show Table Schema")
        for column in export.columns:
            expect(_row_of(columns, column.name, page)).to_contain_text(column.type)
        columns.get_by_role("button", name="Close").click()
        expect(columns).to_have_count(0)
        dialog = screen.show_in_dialog("last days")
        larger = dialog.get_by_role("img", name=re.compile(f" of {export.name} per day$"))
        expect(larger).to_be_visible()
        assert larger.evaluate("image => image.complete && image.naturalWidth > 200")
        screen.shoot(f"picture of {export.name}")

    screen.open_asset(EXPORTS[0].name)
    page.get_by_role("button", name="Plots").click()
    held = dict(here.query(f"select report_date::varchar, count(*) from {EXPORTS[0].name} group by all"))
    for label in ("rows", "requests", "inserted", "updated", "unchanged", "settled share"):
        # The innermost box that holds the label and nothing else but a picture.
        box = page.locator("div").filter(has=page.locator("canvas")).filter(has_text=re.compile(rf"^\s*{label}\s*$"))
        drawn = dict(box.last.locator("canvas").evaluate(DRAWN))
        days = [str(days_ago(ago)) for ago in range(1, 15)]
        assert None not in [drawn[day] for day in days], label
        assert label != "rows" or [drawn[day] for day in days] == [held.get(day, 0) for day in days]
    screen.shoot("plots")

    page.set_viewport_size(WALL)
    screen.open_asset(EXPORTS[0].name, "Events")
    for ago in range(1, 15):
        expect(page.get_by_text(str(days_ago(ago)), exact=True).first).to_be_visible()
    screen.shoot("events")

    page.set_viewport_size(DESK)
    screen.open_asset("campaign_summary")
    ((rows,),) = here.query("select count(*) from marts.campaign_summary")
    count = page.get_by_text("Row count", exact=True).locator("..")
    expect(count.get_by_text(str(rows), exact=True)).to_be_visible()
    expect(page.get_by_text("Each campaign and currency in one row", exact=False).first).to_be_visible()


def test_a_run_from_a_shell_is_on_the_timeline_and_says_its_days_in_the_runs_list(
    here: Deployment, screen: Screen
) -> None:
    start, end = days_ago(120), days_ago(118)
    subprocess.run(
        [BIN / "soundlink", "pull", "--from", str(start), "--to", str(end)],
        cwd=here.home,
        env=process_environment(here.home, here.environment),
        check=True,
        capture_output=True,
        timeout=120,
    )
    page = screen.page
    days = f"{start} to {end:%m-%d}" if start.year == end.year else f"{start} to {end}"
    screen.open("Runs")
    expect(page.get_by_text(f"soundlink/days: {days}")).to_be_visible()
    expect(page.get_by_text("soundlink/started_by: shell").first).to_be_visible()
    screen.shoot("tags")
    screen.open("Overview")
    page.get_by_role("button", name="1hr").click()
    expect(page.get_by_role("link", name="daily_refresh").first).to_be_visible()
    # No run is left out: the location's line counts those that succeeded.
    succeeded = [run for run in here.runs() if run["status"] == "SUCCESS"]
    expect(page.get_by_role("button", name=re.compile(rf"definitions {len(succeeded)}\b"))).to_be_visible()
    screen.shoot("timeline")
