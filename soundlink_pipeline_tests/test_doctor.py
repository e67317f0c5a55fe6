"""The doctor: each thing that would make a run fail is told in one sentence, and nothing is changed by looking."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo
from filelock import FileLock

from soundlink_pipeline import doctor_checks
from soundlink_pipeline.doctor import examine, main, summary
from soundlink_pipeline.doctor_checks import Finding
from soundlink_pipeline.exports import EXPORTS
from soundlink_pipeline.pacing import Pacer
from soundlink_pipeline.simulator import CAMPAIGNS_READ, METRICS_READ, Fault, KeyInfo
from soundlink_pipeline_tests.project import (
    KEY,
    REPOSITORY,
    Project,
    asked,
    instance_settings,
    project,
    pull,
    small_world,
    utc,
)

NOW = utc("2026-03-02T06:00")
SHOWN = r"^  (ok|warn|FAULT)"


class Examined:
    """What the doctor says, by group; a group is examined when it is first asked for."""

    def __init__(self, here: Project, now: datetime = NOW, home: Path | None = None, **settings: str) -> None:
        environment = {"SOUNDLINK_API_KEY": KEY, **here.settings, "DAGSTER_HOME": str(home or here.folder / "instance")}
        environment = {name: value for name, value in {**environment, **settings}.items() if value}
        self._waiting = dict(examine({}, environment, lambda: now))
        self._found: dict[str, list[Finding]] = {}

    @property
    def titles(self) -> list[str]:
        return list(self._waiting)

    def group(self, title: str) -> list[Finding]:
        if title not in self._found:
            self._found[title] = list(self._waiting[title])
        return self._found[title]

    @property
    def all(self) -> list[Finding]:
        return [finding for title in self._waiting for finding in self.group(title)]

    def one(self, title: str, what: str) -> Finding:
        found = [finding for finding in self.group(title) if finding.what == what]
        assert len(found) == 1, self.group(title)
        return found[0]

    def bad(self, *titles: str) -> list[tuple[str, str]]:
        """Level and subject of all that is not in order."""
        found = [finding for title in titles or self._waiting for finding in self.group(title)]
        return [(finding.level, finding.what) for finding in found if finding.level != "ok"]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Project]:
    """An empty project: no data, no run, an API that works."""
    with project(tmp_path, small_world(3)) as made:
        home = tmp_path / "instance"
        (home / "dagster.yaml").write_text(yaml.safe_dump(instance_settings(home)))
        yield made


@pytest.fixture
def pulled(here: Project) -> Project:
    """One with days pulled and nothing published."""
    pull(here.soundlink, "2026-02-22", "2026-03-01")
    return here


def beat(here: Project, now: datetime = NOW) -> None:
    """Daemons that are alive at `now`."""
    for name in ("SCHEDULER", "QUEUED_RUN_COORDINATOR"):
        here.instance.add_daemon_heartbeat(DaemonHeartbeat(now.timestamp(), name, "daemon", []))


def content(folder: Path) -> dict[str, object]:
    """Every file below a folder; of SQLite files what is in them, since who reads one may still fold its log in."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".db":
            with sqlite3.connect(path) as connection:
                found[str(path)] = list(connection.iterdump())
            connection.close()
        elif path.is_file() and not path.name.endswith(("-wal", "-shm")) and path.name != "requests.sqlite":
            found[str(path)] = path.read_bytes()
        elif path.is_dir():
            found[str(path)] = None
    return found


# As a whole


def test_project_in_order_needs_no_mending_and_is_not_changed(here: Project) -> None:
    assert here.refresh("2026-02-22", "2026-03-01").success
    beat(here)
    before = content(here.folder)
    examined = Examined(here)
    assert examined.bad() == []
    assert summary(examined.all) == "nothing to mend"
    assert content(here.folder) == before


def test_new_project_is_examined_without_making_anything(here: Project, tmp_path: Path) -> None:
    home = tmp_path / "new home"
    home.mkdir()
    shutil.copy(REPOSITORY / "dagster.yaml", home)
    before = content(here.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        examined = Examined(here, home=home)
    assert examined.bad() == []
    assert not here.data.exists()
    assert content(here.folder) == before
    for group, what in (("Data folder", "folder"), ("Warehouse", "warehouse.duckdb"), ("Dagster", "storage")):
        assert "the first run makes it" in examined.one(group, what).says


@pytest.mark.parametrize("name", doctor_checks.SECRETS)
def test_broken_check_becomes_a_finding_without_secrets_and_the_others_go_on(
    here: Project, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    secret = "Zx81-no-prefix-that-would-tell"

    def broken(_: object) -> Iterator[Finding]:
        yield Finding("ok", "first", "is well")
        raise KeyError(f"with {secret.upper()} in it")

    monkeypatch.setattr(doctor_checks, "check_warehouse", broken)
    here.sim.keys[secret] = KeyInfo()
    examined = Examined(here, **{name: secret})
    assert [finding.level for finding in examined.group("Warehouse")] == ["ok", "FAULT"]
    says = examined.group("Warehouse")[1].says
    assert says.startswith("could not be examined: KeyError")
    assert secret.upper() not in says
    assert "[secret]" in says
    assert examined.one("API", "key").level == "ok"


@pytest.mark.parametrize("secret", ["sk_live_abc_defgh123", "https://user:pass@host/x"])
def test_what_looks_like_a_secret_is_not_shown_wherever_it_comes_from(
    here: Project, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setattr(doctor_checks, "check_data", lambda _: iter([Finding("FAULT", "x", secret, f"not {secret}")]))
    finding = Examined(here).one("Data", "x")
    for part in ("abc", "defgh", "user", "pass"):
        assert part not in finding.says + finding.fix


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ([], "nothing to mend"),
        (["ok"], "nothing to mend"),
        (["warn"], "1 warning: a run can work"),
        (["FAULT", "ok"], "1 fault: mend the faults first"),
        (["FAULT", "warn", "FAULT"], "2 faults, 1 warning: mend the faults first"),
    ],
)
def test_summary_counts(levels: list[doctor_checks.Level], told: str) -> None:
    assert summary([Finding(level, "x", "y") for level in levels]) == told


@contextmanager
def in_folder(folder: Path, env: str) -> Iterator[None]:
    """A project folder with an .env, and no setting in the environment."""
    (folder / ".env").write_text(env)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in os.environ:
            if name.startswith(("SOUNDLINK", "DAGSTER")):
                patch.delenv(name)
        patch.setenv("COLUMNS", "90")
        yield


def test_command_prints_aligned_lines_that_fit_and_exits_with_1_for_a_fault(
    here: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    env = f"SOUNDLINK_BASE_URL={here.sim.base_url}\nSOUNDLINK_DATA_DIR={here.data}\n"
    with in_folder(here.folder, env):
        assert main([]) == 1
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert "1 fault" in lines[-1]
    assert lines[-1].endswith("mend the faults first")
    findings = [line for line in lines if re.match(SHOWN, line)]
    assert len(findings) > 8
    assert {line[34:36] == "  " and line[36] != " " for line in findings} == {True}
    # A path is not broken, however long.
    assert [line for line in lines if len(line) > 90 and len(line[36:].split()) > 1] == []
    assert "SOUNDLINK_API_KEY is not set" in said


def test_command_reads_the_key_from_env_file_shows_it_nowhere_and_exits_with_0(
    here: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    env = "".join(f"{name}={value}\n" for name, value in {**here.settings, "SOUNDLINK_API_KEY": KEY}.items())
    here.sim.clock.set(datetime.now(UTC))  # the command goes by the real clock
    with in_folder(here.folder, env):
        assert main([]) == 0
    said = capsys.readouterr()
    assert KEY not in said.out + said.err
    assert re.search(r"ok +key +is valid; sent as x-api-key", said.out)


# Installation and settings


def test_package_outside_its_range_or_missing_is_a_fault(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "filelock":
            raise metadata.PackageNotFoundError(name)
        return {"duckdb": "1.4.2", "dagster": "1.14.0"}.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    examined = Examined(here)
    assert examined.bad("Installation") == [("FAULT", "dagster"), ("FAULT", "duckdb"), ("FAULT", "filelock")]
    says = examined.one("Installation", "duckdb").says
    assert says.startswith("1.4.2 is installed, but ")
    assert ">=2.0" in says


def test_old_python_is_a_fault(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    python = SimpleNamespace(version_info=(3, 10, 9), platform=sys.platform)
    monkeypatch.setattr(doctor_checks, "sys", python)
    assert Examined(here).one("Installation", "Python").says == "3.10.9, but >=3.11 is needed"


def test_every_setting_that_cannot_be_read_is_named_and_nothing_else_is_examined(here: Project) -> None:
    examined = Examined(here, SOUNDLINK_START_DATE="soon", SOUNDLINK_REQUESTS_PER_HOUR="0", SOUNDLINK_AUTH="none")
    faults = {finding.what for finding in examined.group("Settings") if finding.level == "FAULT"}
    assert faults == {"SOUNDLINK_START_DATE", "SOUNDLINK_REQUESTS_PER_HOUR", "SOUNDLINK_AUTH"}
    assert examined.titles == ["Installation", "Settings"]
    assert here.sim.stats.records == []


def test_command_names_every_setting_of_the_environment_that_cannot_be_read(tmp_path: Path) -> None:
    # A process of its own: the definitions read the environment when they are imported, which they are here.
    told = subprocess.run(
        [sys.executable, "-m", "soundlink_pipeline.doctor"],
        check=False,
        cwd=tmp_path,
        env={"SOUNDLINK_START_DATE": "soon", "SOUNDLINK_AUTH": KEY, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"},
        capture_output=True,
        text=True,
    )
    assert told.returncode == 1
    assert told.stderr == ""
    assert re.findall(r"FAULT  (\w+)", told.stdout) == ["SOUNDLINK_AUTH", "SOUNDLINK_START_DATE"]
    assert KEY not in told.stdout
    assert list(tmp_path.iterdir()) == []


def test_definitions_that_do_not_load_are_a_fault(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise dg.DagsterInvalidDefinitionError("two assets of one name\nand a long explanation")

    monkeypatch.setattr("soundlink_pipeline.definitions.build_definitions", broken)
    says = Examined(here).one("Settings", "definitions").says
    assert says == "Dagster cannot load them: two assets of one name"
    monkeypatch.setattr("soundlink_pipeline.definitions.settings_from", broken)
    examined = Examined(here)
    assert examined.titles == ["Installation", "Settings"]
    assert examined.one("Settings", "definitions").says == says


def test_misspelt_setting_and_one_that_hides_the_env_file_are_warned_of(here: Project) -> None:
    in_file = {"SOUNDLINK_APIKEY": KEY, "SOUNDLINK_AUTH": "bearer"}
    environment = {**here.settings, "SOUNDLINK_AUTH": "auto", "SOUNDLINK_ALERT_URL": "https://alerts.invalid/x"}
    groups = dict(examine(in_file, environment, lambda: NOW))
    found = {finding.what: finding for finding in groups["Settings"]}
    assert "is not a setting" in found["SOUNDLINK_APIKEY"].says
    assert "the environment wins" in found["SOUNDLINK_AUTH"].says
    assert {name for name, finding in found.items() if finding.level != "ok"} == {"SOUNDLINK_APIKEY", "SOUNDLINK_AUTH"}


def test_start_in_the_future_is_warned_of(here: Project) -> None:
    assert Examined(here, SOUNDLINK_START_DATE="2026-03-01").bad("Settings") == []
    assert Examined(here, SOUNDLINK_START_DATE="2026-03-02").bad("Settings") == [("warn", "SOUNDLINK_START_DATE")]


def test_broken_sql_file_is_warned_of_with_file_and_reason(here: Project, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "dbt_like_sql", tmp_path / "models here")
    broken = tmp_path / "models here" / "models" / "marts" / "broken.sql"
    broken.write_text("select nothing_there from {{ source('soundlink', 'campaigns') }}\n")
    examined = Examined(here, SOUNDLINK_SQL_DIR=str(tmp_path / "models here"))
    assert examined.bad("SQL models") == [("warn", "broken.sql")]
    assert examined.bad("Settings") == []
    says = examined.one("SQL models", "broken.sql").says
    assert str(broken) in says
    assert "nothing_there" in says


# The data folder and the warehouse


@contextmanager
def somebody() -> Iterator[None]:
    """Not root, whom no mode keeps from writing."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("there", [True, False])
def test_folder_that_cannot_be_written_to_or_made_is_a_fault(here: Project, there: bool) -> None:
    closed = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others altogether
    try:
        closed.chmod(0o555)
        patient = doctor_checks.Patient(
            doctor_checks.read_settings({}, {"SOUNDLINK_DATA_DIR": str(closed if there else closed / "data")}).settings
            or pytest.fail("settings"),
            KEY,
            "",
            lambda: NOW,
        )
        with somebody():
            found = {finding.what: finding for finding in doctor_checks.check_data_folder(patient)}
        assert found["folder"].level == "FAULT"
        assert "Permission denied" in found["folder"].says
        assert "SOUNDLINK_DATA_DIR" in found["folder"].fix
        assert list(closed.iterdir()) == []
    finally:
        closed.chmod(0o755)
        closed.rmdir()


def test_file_in_the_place_of_the_folder_is_a_fault(here: Project) -> None:
    here.data.write_text("a file")
    examined = Examined(here)
    assert examined.one("Data folder", "folder").level == "FAULT"
    assert here.data.read_text() == "a file"


@pytest.mark.parametrize(("free", "level"), [(255e6, "FAULT"), (300e6, "warn"), (600e6, "ok")])
def test_disk_that_is_full_or_nearly_is_told(
    here: Project, monkeypatch: pytest.MonkeyPatch, free: float, level: str
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert Examined(here).one("Data folder", "disk space").level == level


def test_room_needed_grows_with_the_warehouse(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    here.data.mkdir()
    with (here.data / "warehouse.duckdb").open("wb") as file:
        file.truncate(2_000_000_000)  # a hole, of no size on the disk
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2_200_000_000))
    finding = Examined(here).one("Data folder", "disk space")
    assert finding.level == "FAULT"
    assert finding.fix.startswith("free 56 MB or more")


@contextmanager
def open_elsewhere(path: Path, *, read_only: bool) -> Iterator[int]:
    """A real other process that has a database open."""
    code = f"import duckdb,sys; c=duckdb.connect({str(path)!r}, read_only={read_only}); print(1,flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        try:
            yield process.pid
        finally:
            process.communicate("\n")


@pytest.mark.parametrize("read_only", [True, False])
def test_warehouse_open_in_another_program_is_a_fault_that_names_the_process(
    pulled: Project, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    monkeypatch.setattr(doctor_checks, "_WAREHOUSE_WAIT_SECONDS", 0.2)
    with open_elsewhere(pulled.data / "warehouse.duckdb", read_only=read_only) as process:
        examined = Examined(pulled)
        assert examined.bad("Warehouse") == [("FAULT", "warehouse.duckdb")]
    fault = next(finding for finding in examined.group("Warehouse") if finding.level == "FAULT")
    assert f"is open in process {process}" in fault.says
    assert Examined(pulled).bad("Warehouse") == []


def test_run_that_is_writing_is_no_fault(pulled: Project) -> None:
    path = pulled.data / "warehouse.duckdb"
    with FileLock(path.with_suffix(".lock")), open_elsewhere(path, read_only=False):
        examined = Examined(pulled)
        assert examined.bad("Warehouse", "Data") == []
    assert "a pipeline run is writing" in examined.one("Warehouse", "warehouse.duckdb").says


def test_damaged_warehouse_is_a_fault_that_says_what_to_do(pulled: Project) -> None:
    path = pulled.data / "warehouse.duckdb"
    path.write_bytes(b"not a database at all" * 1000)
    examined = Examined(pulled)
    assert examined.bad("Warehouse") == [("FAULT", "warehouse.duckdb")]
    assert "rebuild_from_landing" in examined.one("Warehouse", "warehouse.duckdb").says
    assert examined.one("Data", "warehouse").level == "ok"


# The API


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (KeyInfo(revoked=True), "this API key was revoked"),
        (KeyInfo(expired=True), "this API key has expired"),
        (None, "the API does not know this key"),
    ],
)
def test_key_that_does_not_work_is_one_fault_and_nothing_else_is_asked(
    here: Project, info: KeyInfo | None, words: str
) -> None:
    here.sim.keys.clear()
    here.sim.keys["sk_other_key"] = KeyInfo()
    if info:
        here.sim.keys[KEY] = info
    examined = Examined(here)
    assert examined.bad("API") == [("FAULT", "key")]
    assert examined.one("API", "host").level == "ok"
    assert words in examined.one("API", "key").says
    assert "requestId" in examined.one("API", "key").says
    assert {record.path for record in here.sim.stats.records} == {"/v1/ping"}


@pytest.mark.parametrize("key", ["", "  ", "sk_test_with blank"])
def test_key_that_is_missing_or_cannot_be_one_is_a_fault_without_a_request(here: Project, key: str) -> None:
    examined = Examined(here, SOUNDLINK_API_KEY=key)
    assert ("FAULT", "SOUNDLINK_API_KEY") in examined.bad("API")
    assert here.sim.stats.records == []


def test_key_in_quotes_is_told_to_look_wrong(here: Project) -> None:
    examined = Examined(here, SOUNDLINK_API_KEY=f'"{KEY}"')
    assert examined.bad("API") == [("warn", "SOUNDLINK_API_KEY"), ("FAULT", "key")]
    assert not any(KEY in finding.says + finding.fix for finding in examined.all)


@pytest.mark.parametrize(("generation", "scheme"), [(1, "x-api-key"), (2, "bearer")])
def test_way_of_authenticating_that_works_is_told_and_requests_are_counted(
    here: Project, generation: int, scheme: str
) -> None:
    here.sim.generation = generation
    examined = Examined(here)
    assert examined.bad("API") == []
    assert examined.one("API", "key").says == f"is valid; sent as {scheme}"
    sent = len(here.sim.stats.records)
    assert sent == (3 if generation == 1 else 4)
    assert examined.one("API", "requests").says.startswith(f"{sent} made")


def test_missing_scope_for_campaigns_is_a_fault_unless_they_are_named(here: Project) -> None:
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({METRICS_READ}))
    assert Examined(here).bad("API") == [("FAULT", "campaigns:read"), ("warn", "metrics:read")]
    named = Examined(here, SOUNDLINK_CAMPAIGN_IDS=here.sim.world.campaigns[0].uuid)
    assert named.bad("API") == []
    assert "1 for each" not in named.one("API", "limits").says


def test_missing_scope_for_metrics_is_a_fault(here: Project) -> None:
    here.sim.keys[KEY] = KeyInfo(scopes=frozenset({CAMPAIGNS_READ}))
    examined = Examined(here)
    assert examined.bad("API") == [("FAULT", "metrics:read")]
    assert "code insufficient_scope" in examined.one("API", "metrics:read").says


def test_export_is_asked_for_one_closed_day_by_the_apis_clock_and_not_kept(here: Project) -> None:
    assert Examined(here).bad("API") == []
    ((_, query),) = asked(here.sim)
    assert query == "startDate=2026-03-01&endDate=2026-03-01"
    assert not here.data.exists()


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_refused_connection_unknown_name_and_bad_certificate_are_told_apart(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fix(base_url: str) -> str:
        examined = Examined(here, SOUNDLINK_BASE_URL=base_url)
        assert examined.bad("API") == [("FAULT", "host")]
        return examined.one("API", "host").fix

    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert fix(f"http://127.0.0.1:{closed_port()}").startswith("nothing listens there")
    # A server that speaks no TLS is the simplest that fails its handshake.
    assert fix(here.sim.base_url.replace("http:", "https:")).startswith("its certificate is not trusted")
    real = socket.getaddrinfo

    def unknown(host: str, *rest: object, **more: object) -> object:
        if host == "api.nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert fix("https://api.nowhere.invalid").startswith("the name is not known")


def test_failing_api_is_a_fault_with_its_request_id(here: Project) -> None:
    here.sim.faults.add(Fault("status", match="/v1/ping", times=None))
    examined = Examined(here)
    assert examined.bad("API") == [("FAULT", "answer")]
    assert "HTTP 500" in examined.one("API", "answer").says
    assert "requestId" in examined.one("API", "answer").says


def test_silent_api_does_not_hold_the_doctor_up(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "_DEADLINE_SECONDS", 0.5)
    here.sim.faults.add(Fault("hang", match="/v1/campaigns", times=None, seconds=60.0))
    started = time.monotonic()
    examined = Examined(here)
    assert examined.bad("API") == [("FAULT", "host")]
    assert time.monotonic() - started < 12  # a silence alone would be borne for 15 s
    assert examined.one("API", "key").level == "ok"
    assert next(f.says for f in examined.group("API") if f.level == "FAULT").endswith("no whole answer within 0 s")


def test_api_that_asks_for_a_long_wait_is_left_alone(pulled: Project) -> None:
    before = len(pulled.sim.stats.records)
    pulled.sim.faults.add(
        Fault("status", match="/v1/campaigns", status=429, code="rate_limit_exceeded", retry_after=900)
    )
    started = time.monotonic()
    assert Examined(pulled).bad("API") == [("warn", "limits")]
    assert time.monotonic() - started < 30
    assert len(pulled.sim.stats.records) == before + 2
    # A run knows of it too, and so does the next look.
    assert Examined(pulled).bad("API") == [("warn", "limits")]
    assert len(pulled.sim.stats.records) == before + 2


def test_used_up_hour_is_a_warning_and_no_request_is_made(here: Project) -> None:
    with Pacer(here.data / "requests.sqlite", 10, 10) as pacer:
        for _ in range(6):
            pacer.acquire()
    examined = Examined(here, SOUNDLINK_REQUESTS_PER_HOUR="10", SOUNDLINK_REQUESTS_PER_MINUTE="10")
    assert examined.bad("API") == [("warn", "limits")]
    assert examined.one("API", "limits").says == "not asked: 4 of 10 requests are left this hour"
    assert here.sim.stats.records == []


def test_requests_are_counted_with_those_of_the_runs(pulled: Project) -> None:
    def left() -> int:
        with pulled.soundlink.connect(lambda _: None) as (_, pacer):
            return pacer.left_this_hour()

    before = left()
    assert Examined(pulled).bad("API") == []
    assert before - left() == 3


def test_damaged_count_of_requests_is_a_fault_that_says_what_to_do(pulled: Project) -> None:
    (pulled.data / "requests.sqlite").write_bytes(b"no database" * 500)
    examined = Examined(pulled)
    assert examined.bad("API") == [("FAULT", "requests.sqlite")]
    assert examined.one("API", "requests.sqlite").fix.startswith("delete it")


@pytest.mark.parametrize(("minutes", "level"), [(4, "ok"), (6, "warn"), (-6, "warn")])
def test_clock_that_is_off_is_warned_of(here: Project, minutes: int, level: str) -> None:
    finding = Examined(here, now=NOW + timedelta(minutes=minutes)).one("API", "clock")
    assert finding.level == level
    if level == "warn":
        assert f"6 min {'ahead of' if minutes > 0 else 'behind'} the API's" in finding.says


def test_limits_are_compared_with_what_a_daily_refresh_needs(here: Project) -> None:
    finding = Examined(here).one("API", "limits")
    live = int(re.findall(r"each of (\d+) live", finding.says)[0])
    assert live == 3
    assert "a daily refresh needs 7: 2 for each" in finding.says
    few = Examined(here, SOUNDLINK_REQUESTS_PER_HOUR="9", SOUNDLINK_REQUESTS_PER_MINUTE="9").one("API", "limits")
    assert few.level == "warn"
    assert few.says.startswith("6 of 9 requests left this hour")


# Dagster


@pytest.mark.parametrize("home", ["not/absolute", "/nowhere/at/all"])
def test_home_that_dagster_refuses_is_a_fault(here: Project, home: str) -> None:
    assert Examined(here, home=Path(home)).bad("Dagster") == [("FAULT", "DAGSTER_HOME")]


def test_home_that_is_not_set_and_missing_configuration_are_warned_of(
    here: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").mkdir()
    monkeypatch.chdir(tmp_path / "plain")
    examined = Examined(here, DAGSTER_HOME="")
    assert examined.bad("Dagster") == [("warn", "DAGSTER_HOME"), ("warn", "dagster.yaml")]
    assert list((tmp_path / "plain").iterdir()) == []


def test_damaged_storage_is_a_fault(here: Project, tmp_path: Path) -> None:
    home = tmp_path / "damaged"
    shutil.copytree(here.folder / "instance" / "storage", home / "storage")
    (home / "dagster.yaml").write_text(yaml.safe_dump(instance_settings(home)))
    (home / "storage" / "history" / "runs.db").write_bytes(b"no database" * 500)
    assert Examined(here, home=home).bad("Dagster") == [("FAULT", "Dagster")]


def test_daemon_that_is_not_running_is_warned_of(here: Project) -> None:
    assert Examined(here).one("Dagster", "daemon").level == "warn"
    beat(here, NOW - timedelta(minutes=4))
    finding = Examined(here).one("Dagster", "daemon")
    assert finding.level == "warn"
    assert "last seen 2026-03-02 05:56 UTC" in finding.says
    beat(here, NOW - timedelta(minutes=1))
    assert Examined(here).one("Dagster", "daemon").level == "ok"


def schedule(here: Project, status: InstigatorStatus) -> InstigatorState:
    """The schedule as a daemon or the UI has noted it."""
    repository = RemoteRepositoryOrigin(
        ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name="soundlink_pipeline.definitions")),
        "__repository__",
    )
    state = InstigatorState(
        RemoteInstigatorOrigin(repository, "daily_refresh_schedule"),
        InstigatorType.SCHEDULE,
        status,
        ScheduleInstigatorData("0 7 * * *"),
    )
    here.instance.add_instigator_state(state)
    return state


def test_schedule_that_is_stopped_is_warned_of_and_one_that_runs_tells_its_next_tick(here: Project) -> None:
    assert Examined(here).one("Dagster", "daily_refresh_schedule").says.endswith("next tick 2026-03-02 07:00 UTC")
    state = schedule(here, InstigatorStatus.STOPPED)
    assert Examined(here).one("Dagster", "daily_refresh_schedule").level == "warn"
    here.instance.update_instigator_state(state.with_status(InstigatorStatus.RUNNING))
    finding = Examined(here).one("Dagster", "daily_refresh_schedule")
    assert (finding.level, finding.says) == ("ok", "is running; next tick 2026-03-02 07:00 UTC")


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [
        (TickStatus.FAILURE, "warn", "failed: the ledger is gone"),
        (TickStatus.SKIPPED, "ok", "skipped: no day yet"),
        (TickStatus.SUCCESS, "ok", "asked for a run"),
    ],
)
def test_last_tick_tells_its_outcome(here: Project, status: TickStatus, level: str, words: str) -> None:
    state = schedule(here, InstigatorStatus.RUNNING)
    error = SerializableErrorInfo("the ledger is gone\n", [], "KeyError")
    here.instance.create_tick(
        TickData(
            state.instigator_origin_id,
            "daily_refresh_schedule",
            InstigatorType.SCHEDULE,
            status,
            (NOW - timedelta(hours=23)).timestamp(),
            run_ids=["a-run"] if status is TickStatus.SUCCESS else [],
            skip_reason="no day yet" if status is TickStatus.SKIPPED else None,
            error=error if status is TickStatus.FAILURE else None,
            selector_id=state.selector_id,
        )
    )
    finding = Examined(here).one("Dagster", "last tick")
    assert finding.level == level
    assert finding.says.startswith("2026-03-01 07:00 UTC: ")
    assert words in finding.says


def test_failed_run_is_warned_of_with_its_own_sentence(here: Project) -> None:
    here.sim.keys[KEY] = KeyInfo(expired=True)
    assert not here.refresh("2026-02-22", "2026-03-01", raise_on_error=False).success
    finding = Examined(here).one("Dagster", "last run")
    assert finding.level == "warn"
    assert "this API key has expired" in finding.says
    here.sim.keys[KEY] = KeyInfo()
    assert here.refresh("2026-02-22", "2026-03-01").success
    assert Examined(here).one("Dagster", "last run").level == "ok"


def test_run_that_has_fallen_silent_is_warned_of(here: Project) -> None:
    run = dg.DagsterRun(job_name="daily_refresh", run_id="0b7a1f5e-1111-4222-8333-123456789abc")
    here.instance.add_run(run)
    here.instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "daily_refresh", message="started"), run.run_id
    )
    started = datetime.now(UTC)
    fresh = Examined(here, now=started + timedelta(minutes=60)).one("Dagster", "run under way")
    assert fresh.level == "ok"
    assert "0b7a1f5e" in fresh.says
    silent = Examined(here, now=started + timedelta(minutes=80)).one("Dagster", "run under way")
    assert silent.level == "warn"
    assert "it seems stuck" in silent.says


# The data


def test_last_closed_day_is_complete_or_told_to_be_missing(pulled: Project) -> None:
    for export in EXPORTS:
        finding = Examined(pulled).one("Data", export.name)
        assert (finding.level, finding.says) == ("ok", "newest day 2026-03-01, 3 of 3 live campaigns")
        # Until the day's refresh has run, the day before is all that can be there.
        assert Examined(pulled, now=NOW + timedelta(days=1)).one("Data", export.name).level == "ok"
        late = Examined(pulled, now=NOW + timedelta(days=2)).one("Data", export.name)
        assert late.level == "warn"
        assert "2 closed days are missing" in late.says


def test_day_that_lacks_a_campaign_is_told_to_be_incomplete(here: Project) -> None:
    gone = here.sim.world.campaigns[1].uuid
    here.sim.faults.add(Fault("status", campaign=gone, status=404, code="campaign_not_found", times=None))
    pull(here.soundlink, "2026-02-22", "2026-03-01")
    here.sim.faults.clear()
    for export in EXPORTS:
        finding = Examined(here).one("Data", export.name)
        assert finding.level == "warn"
        assert "2 of 3 live campaigns: incomplete" in finding.says


def test_days_that_never_settled_are_warned_of_once_no_refresh_reaches_them_by_itself(pulled: Project) -> None:
    assert Examined(pulled).one("Data", "unsettled days").level == "ok"
    later = Examined(pulled, now=NOW + timedelta(days=12)).one("Data", "unsettled days")
    assert later.level == "warn"
    assert "days from 2026-02-23 on" in later.says or "days from 2026-02-22 on" in later.says


def test_refused_delivery_is_warned_of_until_it_was_delivered_well(here: Project) -> None:
    here.sim.faults.add(Fault("body", export=EXPORTS[0].name, body=b'{"broken": true}\n'))
    pull(here.soundlink, "2026-02-22", "2026-03-01")
    finding = Examined(here).one("Data", "quarantine")
    assert finding.level == "warn"
    assert finding.says.startswith("1 refused deliveries")
    (reason,) = here.data.glob("quarantine/*/*/*.reason.txt")
    assert f"read {reason};" in finding.fix
    here.sim.clock.advance(timedelta(minutes=1))
    pull(here.soundlink, "2026-02-22", "2026-03-01", run_id="run-2")
    assert Examined(here).one("Data", "quarantine").level == "ok"


def test_landed_files_that_no_run_has_loaded_are_warned_of_after_a_while(pulled: Project) -> None:
    (pulled.data / "warehouse.duckdb").unlink()
    for path in list(pulled.data.glob("landing/campaign_*/*/*.zst")):
        name = re.sub(r"_loaded-\d+", "", path.name.removesuffix(".zst"))
        path.rename(path.with_name(name))
    landed = len(pulled.soundlink.landing.not_archived())
    assert landed == 6
    received = max(delivery.received_at for delivery in pulled.soundlink.landing.not_archived())
    assert Examined(pulled).one("Data", "warehouse").says == "there is none, but 6 deliveries have landed"
    at_work = Examined(pulled, now=received + timedelta(minutes=10)).one("Data", "landed files")
    assert (at_work.level, at_work.says[:12]) == ("ok", "6 deliveries")
    assert Examined(pulled, now=received + timedelta(hours=2)).one("Data", "landed files").level == "warn"


def test_vanished_keys_are_counted(pulled: Project) -> None:
    assert Examined(pulled).one("Data", "vanished keys").says == "none"
    pulled.sim.clock.advance(timedelta(minutes=1))
    pulled.sim.faults.add(Fault("edit", export=EXPORTS[0].name, edit=lambda body: body[body.index(b"\n") + 1 :]))
    pull(pulled.soundlink, "2026-02-22", "2026-03-01", run_id="run-2")
    assert Examined(pulled).one("Data", "vanished keys").says.startswith("1 keys are gone")


def test_count_that_takes_too_long_is_given_up(pulled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "_LONGEST_QUERY_SECONDS", 0.3)
    with pulled.soundlink.warehouse.write() as connection:
        connection.execute(
            "create or replace view vanished_rows as"
            " select max(a.range + b.range) as vanished_at from range(10_000_000) as a, range(10_000_000) as b"
        )
    finding = Examined(pulled).one("Data", "vanished keys")
    assert (finding.level, finding.says[:11]) == ("ok", "not counted")


def test_published_file_that_is_missing_older_or_damaged_is_told(here: Project) -> None:
    assert here.refresh("2026-02-22", "2026-02-28").success
    published = here.data / "soundlink.duckdb"
    assert Examined(here).one("Data", "soundlink.duckdb").level == "ok"
    pull(here.soundlink, "2026-03-01", "2026-03-01", run_id="run-2")
    ((last,),) = here.query("select max(received_at) from deliveries")
    received = last.replace(tzinfo=UTC)
    assert Examined(here, now=received + timedelta(minutes=5)).one("Data", "soundlink.duckdb").level == "ok"
    older = Examined(here, now=received + timedelta(hours=2)).one("Data", "soundlink.duckdb")
    assert (older.level, "by 6 deliveries" in older.says) == ("warn", True)
    published.chmod(0o644)
    published.write_bytes(b"no database" * 500)
    assert Examined(here).one("Data", "soundlink.duckdb").level == "FAULT"
    published.unlink()
    assert Examined(here).one("Data", "soundlink.duckdb").level == "warn"
