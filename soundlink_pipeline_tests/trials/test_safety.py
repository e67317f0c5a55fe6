"""What must not happen by mistake or malice: a door open to the network, a file written outside the data folder."""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import dagster as dg
import pytest

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.models.project import read_project
from soundlink_pipeline.report import __main__
from soundlink_pipeline.settings.settings import settings_from
from soundlink_pipeline_tests.support import deliveries
from soundlink_pipeline_tests.support.deployment import (
    BIN,
    TODAY,
    deployment,
    end_session,
    process_environment,
    session,
    simulated_api,
    until,
)
from soundlink_pipeline_tests.support.project import REPOSITORY, Project, failure_of, project

DAY = "2026-02-10"
HOSTILE = ["../../x", "../../../../x", "/etc/passwd", "..%2f..%2fx", "..\\..\\x", "x/../../..", ".", "..", "~root"]
HOSTILE += ["a\x00b", "$(touch x)", "x; rm -r ."]
TOO_LONG = "n" * 1000


# Who listens


def listening(pids: Iterable[int]) -> set[tuple[str, int]]:
    """The addresses at which processes take connections or datagrams, as the kernel tells."""
    sockets = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):
                sockets.add(str(descriptor.readlink()))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            waits = fields[3] == ("0A" if table.startswith("tcp") else "07")
            if waits and f"socket:[{fields[9]}]" in sockets:
                address, _, port = fields[1].partition(":")
                # The kernel prints each four bytes as one number of the machine's own order.
                packed = b"".join(struct.pack("=I", int(address[at : at + 8], 16)) for at in range(0, len(address), 8))
                family = socket.AF_INET6 if len(packed) == 16 else socket.AF_INET
                found.add((socket.inet_ntop(family, packed), int(port, 16)))
    return found


def is_open_to_others(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return not (getattr(found, "ipv4_mapped", None) or found).is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_the_look_at_the_kernels_tables_finds_an_open_door(host: str, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as door:
        door.bind((host, 0))
        if kind == socket.SOCK_STREAM:
            door.listen()
        assert (host, door.getsockname()[1]) in listening([int(Path("/proc/self").readlink().name)])
    assert is_open_to_others(host) == (host in ("0.0.0.0", "::"))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def recipe(target: str, **variables: str) -> list[str]:
    """The last command that make would run."""
    told = subprocess.run(
        ["make", "--no-print-directory", "-n", "--old-file=install", target]
        + [f"{name}={value}" for name, value in variables.items()],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return shlex.split(told.splitlines()[-1])


@contextmanager
def demo_ui(folder: Path, port: int) -> Iterator[int]:
    """`make dev` before there is an .env, on what a demo leaves; but the API's port is any that is free."""
    home = folder / "demo"
    home.mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        (home / name).write_bytes((REPOSITORY / name).read_bytes())
    (home / ".env").write_text(
        f"SOUNDLINK_API_KEY=sk_demo_simulator\nSOUNDLINK_BASE_URL=http://127.0.0.1:{free_port()}\n"
        f"SOUNDLINK_START_DATE={TODAY - timedelta(days=30)}\n"
    )
    with (folder / "demo.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "soundlink_pipeline.commands.cli", "dev", f"--port={port}"],
            cwd=home,
            env=process_environment(home, {}),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        end_session(process)


def commands(processes: Sequence[int]) -> list[list[str]]:
    """The command lines of processes; of one that has just ended, none."""
    found = []
    for process in processes:
        with suppress(OSError):
            found.append(Path(f"/proc/{process}/cmdline").read_text().split("\0")[:-1])
    return found


@pytest.mark.daemon
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ui_daemon_runs_and_simulator_listen_on_loopback_alone(tmp_path: Path) -> None:
    port = free_port()
    home = f"{REPOSITORY}/demo"
    made = recipe("dev", HOME_DIR=home, BIN=str(BIN), PORT=str(port))
    assert made == ["cd", home, "&&", f"{BIN}/soundlink", "dev", "--port=$MAKE_PORT"]
    (tmp_path / "dev").mkdir()
    with (
        demo_ui(tmp_path, port) as demo,
        simulated_api() as sim,
        deployment(tmp_path / "dev" / "project", sim) as here,
    ):
        own_port = here.url.rpartition(":")[2]
        # The deployment is started by the very command that soundlink dev starts.
        of_deployment = commands([here.leader])
        assert ["dev", "-h", "127.0.0.1", "-p", own_port] in [command[-5:] for command in of_deployment]

        def served() -> bool:
            return any(
                command[3:8] == ["dev", "-h", "127.0.0.1", "-p", str(port)] for command in commands(session(demo))
            )

        until(served, "soundlink dev starts Dagster", 60)
        found = set[tuple[str, int]]()

        def seen() -> set[tuple[str, int]]:
            nonlocal found
            found |= listening([*session(here.leader), *session(demo)])
            return found

        run_id = here.launch(TODAY - timedelta(days=2), TODAY - timedelta(days=2))
        until(lambda: seen() and here.status(run_id) in ("SUCCESS", "FAILURE"), "the run ends", 300)
        assert here.status(run_id) == "SUCCESS"
        until(lambda: port in {number for _, number in seen()}, "the demo's UI listens", 120)
        assert {port, int(own_port)} < {number for _, number in found}
        # Both UIs, and the simulator of the demo.
        assert len(found) >= 3
        assert [door for door in found if is_open_to_others(door[0])] == []


# Where files are written


class Enemy(ThreadingHTTPServer):
    """An API whose campaigns are called what it likes. While `spoiled`, engagement rows break their contract."""

    daemon_threads = True

    def __init__(self, ids: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.ids = ids
        self.spoiled = False
        self.asked: set[str] = set()

    def answer(self, path: str) -> bytes:
        if path in ("/v1/campaigns", "/v1/soundlinks"):
            items = [{"campaignId": campaign_id} for campaign_id in self.ids if path == "/v1/campaigns"]
            return json.dumps({"data": {"items": items, "pagination": {"totalPages": 1}}}).encode()
        # Of the path as it came: whatever the id holds, it must be one segment of it.
        segment, kind = re.fullmatch(r"/v1/campaigns/([^/.]+)/metrics/(breakdown|engagement)/export", path).groups()  # type: ignore[union-attr]
        campaign_id = unquote(segment)
        self.asked.add(campaign_id)
        export = next(export for export in EXPORTS if f"/{kind}/" in export.path)
        country = "nowhere" if self.spoiled and kind == "engagement" else "US"
        row = deliveries.row(export, campaign_id=campaign_id, report_date=DAY, country_code=country)
        return deliveries.ndjson([row])


class _Answers(BaseHTTPRequestHandler):
    server: Enemy

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        body = self.server.answer(path)
        self.send_response(200)
        self.send_header("content-type", "application/json" if path == "/v1/campaigns" else "application/x-ndjson")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return "Sun, 01 Mar 2026 06:00:00 GMT"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def enemy(tmp_path: Path) -> Iterator[Enemy]:
    absolute = tmp_path / "elsewhere"
    absolute.mkdir()
    with Enemy([*HOSTILE, f"{absolute}/x", TOO_LONG]) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def here(tmp_path: Path, enemy: Enemy) -> Iterator[Project]:
    folder = tmp_path / "some" / "where" / "deep"
    folder.mkdir(parents=True)
    with project(folder, sql_dir=REPOSITORY / "dbt_like_sql") as made:
        made.settings["SOUNDLINK_BASE_URL"] = f"http://127.0.0.1:{enemy.server_port}"
        yield made


def outside(here: Project) -> set[Path]:
    """Everything beside the data folder, Dagster's own apart."""
    top = here.folder.parents[2]
    own = (here.data, here.folder / "instance")
    return {path for path in top.rglob("*") if not any(path == one or one in path.parents for one in own)}


def assert_data_folder_is_in_order(here: Project) -> None:
    """Nothing but the files it is known to have, each campaign's in one folder below its export's."""
    exports = "|".join(export.name for export in EXPORTS)
    known = (
        rf"(landing|quarantine)/({exports})/[0-9A-Za-z%_-]+/{DAY}_{DAY}_asked-\S+\.ndjson(\.zst)?(\.reason\.txt)?"
        r"|landing/(campaigns|soundlinks)/asked-\S+\.ndjson\.zst|(warehouse|soundlink)\.duckdb|run\.lock"
        r"|warehouse\.(lock|contract)"
        r"|(api_scheme|bound_models)\.json|requests\.sqlite(\.lock)?|report(-[0-9A-Za-z-]*)?\.html"
    )
    files = [str(path.relative_to(here.data)) for path in here.data.rglob("*") if not path.is_dir()]
    assert [name for name in files if not re.fullmatch(known, name)] == []
    assert not any(path.is_symlink() for path in here.data.rglob("*"))


@pytest.mark.parametrize(
    "listed", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["listed by the API", "fixed by the setting"]
)
def test_campaigns_named_like_paths_write_nothing_outside_their_folders(
    here: Project, enemy: Enemy, listed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = outside(here)
    if not listed:
        # No environment variable can hold \0, and the setting takes no id with a blank or a comma.
        enemy.ids = [campaign_id for campaign_id in enemy.ids if not re.search(r"[\s,\0]", campaign_id)]
        here.settings["SOUNDLINK_CAMPAIGN_IDS"] = ",".join(enemy.ids)
    harmless = [campaign_id for campaign_id in enemy.ids if campaign_id != TOO_LONG]
    enemy.spoiled = True
    said = failure_of(here.refresh(DAY, DAY))
    assert said.count("refused:") == len(harmless)
    first, again = (line.split(f" of {TOO_LONG}, ") for line in said.splitlines() if TOO_LONG in line)
    assert [first[0], again[0]] == [export.name for export in EXPORTS[:2]]
    assert "is too long to be one" in first[1]
    assert again[1].endswith(": the same")  # each reason is said once
    assert said.count(": the same") == 1
    assert enemy.asked == set(enemy.ids)
    assert_data_folder_is_in_order(here)
    for kind, export in (("landing", EXPORTS[0]), ("quarantine", EXPORTS[1])):
        assert len(list((here.data / kind / export.name).iterdir())) == len(harmless)
    enemy.spoiled = False
    enemy.ids.remove(TOO_LONG)
    if not listed:
        here.settings["SOUNDLINK_CAMPAIGN_IDS"] = ",".join(enemy.ids)
    assert here.refresh(DAY, DAY, run_config={"ops": {"exports": {"config": {"refetch": True}}}}).success
    for export in EXPORTS[:2]:
        assert sorted(here.query(f"select campaign_id from {export.name}")) == sorted((name,) for name in harmless)
    reported = harmless[::7] if listed else harmless  # each takes a second
    for campaign_id in reported:
        assert __main__.main(["--database", str(here.soundlink.published_path), "--campaign", campaign_id]) == 0
    assert capsys.readouterr().out.count("Written: ") == len(reported)
    command = ["make", "--old-file=install", "report", f"HOME_DIR={here.folder}", f"BIN={BIN}", "CAMPAIGN=../../x"]
    env = process_environment(here.folder, here.settings)
    told = subprocess.run(command, cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "report--x.html" in told
    assert_data_folder_is_in_order(here)
    assert outside(here) == before


@pytest.mark.parametrize(
    "name", ["my model", "..", "a; drop table deliveries", 'a"b', "a'b", "main.deliveries", "%2e%2e%2fx"]
)
def test_a_model_whose_file_name_is_no_name_is_told_of_and_costs_nothing_but_itself(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "models" / "marts"
    folder.mkdir(parents=True)
    (folder / f"{name}.sql").write_text("select 1 as a")
    (folder / "good.sql").write_text("select 1 as a")
    definitions = build_definitions(settings_from({"SOUNDLINK_SQL_DIR": str(tmp_path)}), lambda _: None)
    made = definitions.resolve_asset_graph().get_all_asset_keys()
    assert dg.AssetKey("good") in made
    assert any(f"{name}.sql" in str(problem) for problem in read_project(tmp_path).errors.values())
