"""The server around the simulator: its statistics, its switches, its files and its command."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from soundlink_pipeline.simulator import BREAKDOWN, SimClock, Simulator, running_simulator
from soundlink_pipeline.simulator.__main__ import main
from soundlink_pipeline_tests.simulator.shared import JANUARY, NOW, Keyed, export_url


def test_statistics_tell_what_was_asked_and_never_the_key(sim: Simulator, api: Keyed) -> None:
    body = api.get(export_url(sim)).content
    api.get("/v1/campaigns/none")
    (export, missing) = sim.stats.records
    assert (export.kind, export.method, export.status, export.scheme) == ("breakdown_export", "GET", 200, "bearer")
    assert export.bytes == len(body)
    assert sim.stats.count(path_contains="startDate=2026-01-01", status=200) == 1
    assert missing.status == 404
    assert sim.key not in repr(sim.stats.records)
    sim.stats.reset()
    assert sim.stats.count() == 0


def test_the_switches_work_over_http(web: httpx.Client, sim: Simulator, api: Keyed) -> None:
    admin = f"{sim.base_url}/_simulator"
    api.get("/v1/ping")
    totals = web.get(f"{admin}/stats").json()
    assert (totals["requests"], totals["by_kind"]) == (1, {"ping": {"200": 1}})
    assert web.post(f"{admin}/clock", json={"now": "2026-02-01T00:00:00+00:00"}).status_code == 200
    assert web.post(f"{admin}/clock", json={"advance_days": 2}).json()["now"] == "2026-02-03T00:00:00+00:00"
    assert sim.clock.now() == datetime(2026, 2, 3, tzinfo=UTC)
    assert web.post(f"{admin}/faults", json={"kind": "status", "status": 503}).status_code == 200
    assert api.get("/v1/ping").status_code == 503
    web.post(f"{admin}/faults", json={"kind": "html"})
    web.delete(f"{admin}/faults")
    assert api.get("/v1/ping").status_code == 200
    for nonsense in ({"kind": "gremlins"}, {"kind": "edit"}, {}, [1]):
        assert web.post(f"{admin}/faults", json=nonsense).status_code == 400
    assert web.post(f"{admin}/shrinking", json={"day": "2026-01-20", "keep": 1}).status_code == 200
    assert sim.shrinking
    assert web.delete(f"{admin}/shrinking").json() == []
    assert not sim.shrinking
    for nonsense in ({}, {"day": "soon"}, {"day": "2026-01-20", "colour": "red"}):
        assert web.post(f"{admin}/shrinking", json=nonsense).status_code == 400
    assert web.post(f"{admin}/clock", json={"now": "2026-02-01"}).status_code == 400
    assert web.post(f"{admin}/stats/reset").json()["requests"] == 0


def test_a_hanging_answer_does_not_hold_up_the_end(web: httpx.Client) -> None:
    with running_simulator() as sim:
        sim.faults.add("hang", seconds=600)
        asked = threading.Thread(target=ask_in_vain, args=(web, f"{sim.base_url}/v1/ping", sim.key))
        asked.start()
        while not sim.stats.count(status=200):
            time.sleep(0.005)
        started = time.monotonic()
    assert time.monotonic() - started < 2
    asked.join(5)
    assert not asked.is_alive()


def ask_in_vain(web: httpx.Client, url: str, key: str) -> None:
    with pytest.raises(httpx.TransportError):
        web.get(url, headers={"authorization": f"Bearer {key}"}, timeout=30)


def test_prepared_answers_are_the_computed_ones(web: httpx.Client, api: Keyed, sim: Simulator) -> None:
    with running_simulator(clock=SimClock(NOW), prepare=True) as prepared:
        assert prepared.prepare(*JANUARY) > 1_000_000
        client = Keyed(web, prepared)
        assert client.get(export_url(prepared)).content == api.get(export_url(sim)).content
        february = export_url(prepared, query="startDate=2026-02-20&endDate=2026-03-01")
        first = client.get(february)
        assert client.get(february).content == first.content
        prepared.clock.advance(timedelta(days=1))
        assert client.get(february).content != first.content


def test_a_file_is_served_as_it_is(web: httpx.Client, tmp_path: Any) -> None:
    path = tmp_path / "large.ndjson"
    path.write_bytes(b'{"n":1}\n' * 200_000)
    with running_simulator() as sim:
        campaign = sim.world.campaigns[1]
        sim.serve_file(BREAKDOWN, campaign.path_id, path, 200_000)
        headers = {"authorization": f"Bearer {sim.key}"}
        answer = web.get(sim.base_url + export_url(sim), headers=headers)
        assert (answer.headers["X-Row-Count"], answer.content) == ("200000", path.read_bytes())
        sim.faults.add("cut", after=1_000_000)
        with pytest.raises(httpx.RemoteProtocolError):
            web.get(sim.base_url + export_url(sim), headers=headers)
        assert b"campaign_id" in web.get(sim.base_url + export_url(sim, 0), headers=headers).content


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_stop(web: httpx.Client, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "soundlink_pipeline.simulator", "--port", "0", "--now", "2026-03-02T06:00"]
    command += ["--soundlinks", "3", "--organizations", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        found = re.fullmatch(r"Soundlink simulator at (http://127\.0\.0\.1:\d+) with the key (\S+)\n", line)
        assert found, line
        headers = {"authorization": f"Bearer {found[2]}"}
        answer = web.get(f"{found[1]}/v1/ping", headers=headers)
        assert answer.headers["Date"] == "Mon, 02 Mar 2026 06:00:00 GMT"
        second = {"authorization": f"Bearer {found[2]}_2"}
        listed = [
            web.get(f"{found[1]}/v1/soundlinks", headers=keyed).json()["data"]["items"] for keyed in (headers, second)
        ]
        assert [len(items) for items in listed] == [3, 3]
        client = {"client_id": "demo_agency", "client_secret": "demo_secret", "grant_type": "client_credentials"}
        token = web.post(
            f"{found[1]}/api/v1/oauth/token", data={**client, "organization_id": listed[1][0]["organizationId"]}
        )
        assert token.json()["token_type"] == "Bearer"
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        output, errors = process.stdout.read(), process.stderr.read()
    assert errors == ""
    assert f"SOUNDLINK_BASE_URL={found[1]}" in output
    assert all(item["organizationId"] in output for items in listed for item in items)


@pytest.mark.parametrize("arguments", [["--host", "0.0.0.0"], ["--host", "example.org"]])
def test_the_command_stays_at_home_unless_told_otherwise(arguments: list[str], capsys: Any) -> None:
    assert main(arguments) == 2
    assert "--allow-remote" in capsys.readouterr().err


def test_a_taken_port_is_one_clear_line(capsys: Any) -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert main(["--port", str(port)]) == 1
    finally:
        signal.signal(signal.SIGINT, handlers[0])
        signal.signal(signal.SIGTERM, handlers[1])
    assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_the_command_ends_with_whoever_has_started_it(web: httpx.Client) -> None:
    command = [sys.executable, "-m", "soundlink_pipeline.simulator", "--quiet", "--port", "0", "--until-input-ends"]
    # Its standard input is a pipe from a process that is killed.
    program = (
        "import subprocess, sys, time\nchild = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = process.stdout.readline().split(" at ")[1].split()[0]
        assert web.get(f"{address}/_simulator/stats").status_code == 200
        process.kill()
        assert process.stdout.read() == ""  # the simulator, which has inherited it, has ended
        with pytest.raises(httpx.TransportError):
            web.get(f"{address}/_simulator/stats")
