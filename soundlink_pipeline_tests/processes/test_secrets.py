"""The API key, the URL for alerts and a mail server's login are looked for everywhere, after good runs and bad ones.

One deployment, whose API is hostile: it says the key back in errors, pages, redirects and rows. What may hold it are
the files of landing and quarantine that were delivered with it in them, for they are the bytes as they came.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
import sqlite3
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import pytest

from soundlink_pipeline.api.client import SoundlinkClient
from soundlink_pipeline.api.errors import RequestRefused
from soundlink_pipeline.api.pacing import Pacer
from soundlink_pipeline.contracts.campaigns import CAMPAIGN
from soundlink_pipeline.simulator import BREAKDOWN, KeyInfo, World, running_simulator
from soundlink_pipeline_tests.alerts.receiver import SECRET, TOKEN
from soundlink_pipeline_tests.processes.story import (
    ELSEWHERE,
    KEY,
    MAIL_LOGIN,
    MAIL_PASSWORD,
    MIXED,
    NO_SCOPE,
    SCHEDULED,
    UNKNOWN_KEY,
    Story,
)
from soundlink_pipeline_tests.support.deployment import Deployment, until
from soundlink_pipeline_tests.support.project import KEY as PLAIN_KEY
from soundlink_pipeline_tests.support.project import failure_of, project

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.timeout(900)


def written(secret: str) -> list[bytes]:
    """A secret as it may be written: plain, in a URL, in JSON, in HTML, in base64 wherever it begins there."""
    plain = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], secret.replace("/", "\\/"), html.escape(secret)}
    # Without the ends, whose bits are shared with what stands beside it.
    encoded = [base64.b64encode(b"." * shift + secret.encode())[4:-4] for shift in range(3)]
    # What is left of a short one stands in other texts too.
    return [text.encode() for text in plain] + [text for text in encoded if len(text) > 16]


SECRETS = (KEY, KEY.rpartition("_")[2], SECRET, *SECRET.split("/"), TOKEN, MAIL_LOGIN, MAIL_PASSWORD)
NEEDLES = [form for secret in SECRETS for form in written(secret)]


def holds_secret(content: bytes) -> bool:
    lowered = content.lower()
    return any(needle.lower() in lowered for needle in NEEDLES)


def layers(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and what is in it where they are compressed."""
    content = path.read_bytes()
    yield content
    if path.suffix == ".zst":
        yield zstd.decompress(content)
    elif content.startswith(b"\x1f\x8b"):
        yield gzip.decompress(content)
    elif content.startswith(b"SQLite format 3\0"):
        yield from sqlite_values(path)
    elif path.suffix == ".duckdb":
        yield from duckdb_values(path)


def sqlite_values(path: Path) -> Iterator[bytes]:
    """Every value; Dagster compresses some."""
    with closing(sqlite3.connect(path)) as connection:
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            for row in connection.execute(f'select * from "{table}"'):
                for value in row:
                    if isinstance(value, bytes):
                        with suppress(zlib.error):
                            yield zlib.decompress(value)
                        yield value
                    elif isinstance(value, str):
                        yield value.encode(errors="surrogateescape")


def duckdb_values(path: Path) -> Iterator[bytes]:
    """Every row as text: in the file they are compressed."""

    def opened() -> duckdb.DuckDBPyConnection | None:
        """None while a run of the deployment writes."""
        with suppress(duckdb.IOException):
            return duckdb.connect(str(path), read_only=True)
        return None

    with until(opened, f"{path.name} can be read") as connection:
        tables = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
        tables += connection.execute("select schema_name, view_name from duckdb_views() where not internal").fetchall()
        for schema, table in tables:
            rows = connection.execute(f'select t::varchar from "{schema}"."{table}" as t').fetchall()
            yield from (text.encode() for (text,) in rows)


def files_with_secret(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and any(map(holds_secret, layers(path)))]


# That the search would find it


def test_the_search_finds_a_secret_however_it_is_written_and_kept(tmp_path: Path) -> None:
    for number, needle in enumerate(NEEDLES):
        text = b"before " + needle + b" after"
        path = tmp_path / f"{number}"
        path.with_suffix(".txt").write_bytes(text.swapcase())
        path.with_suffix(".zst").write_bytes(zstd.compress(text))
        path.with_suffix(".gz").write_bytes(gzip.compress(text))
    with closing(sqlite3.connect(tmp_path / "runs.db")) as runs, runs:
        runs.execute("create table snapshots as select ? as body", [zlib.compress(KEY.encode())])
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("create table t as select ? as name from range(100000)", [KEY])
    assert len(files_with_secret(tmp_path)) == 3 * len(NEEDLES) + 2 > 50


# What the client and the loader say, where the deployment below would take too long to try it all


NOT_PLAIN = sorted({form.decode() for form in written(KEY) if b"sk_test" in form} - {KEY})
NOT_PLAIN += [KEY.rpartition("_")[2], base64.b64encode(KEY.encode()).decode()]


@pytest.mark.parametrize("echo", [KEY, KEY.upper(), *NOT_PLAIN])
def test_an_error_is_cleaned_of_the_key_however_it_is_written(tmp_path: Path, echo: str) -> None:
    with (
        running_simulator(World(campaigns=1), keys={KEY: KeyInfo()}) as sim,
        Pacer(tmp_path / "requests.sqlite", 100, 1000) as pacer,
        SoundlinkClient(sim.base_url, KEY, pacer) as client,
    ):
        sim.faults.add("status", status=400, message=f"what is {echo}?")
        with pytest.raises(RequestRefused, match=r"what is \[key\]\?") as raised:
            client.listed(CAMPAIGN)
        assert not holds_secret(str(raised.value).encode())


def test_a_refused_row_that_says_the_key_is_quoted_without_it(tmp_path: Path) -> None:
    with project(tmp_path) as here:
        here.sim.faults.add(
            "edit", edit=lambda rows: rows.replace(b'"US"', f'"{PLAIN_KEY}"'.encode()), export=BREAKDOWN
        )
        result = here.refresh("2026-01-10", "2026-01-12")
        assert "country_code must be two characters" in failure_of(result)
        found = [path for path, content in here.texts() if PLAIN_KEY.encode() in content]
        assert [path.suffix for path in found] == [".ndjson"]
        assert not any(PLAIN_KEY in repr(event) for event in here.instance.all_logs(result.run_id))


# The story was what it was meant to be


def test_the_runs_failed_as_they_were_meant_to(story: Story) -> None:
    failed = dict.fromkeys(map(str, (MIXED, UNKNOWN_KEY, NO_SCOPE, ELSEWHERE)), "FAILURE")
    assert story.statuses == {SCHEDULED: "SUCCESS", **failed}
    said = {day: story.say(run_id) for day, run_id in story.runs.items()}
    for text in ("rate limited", "HTTP 503", "HTTP 400", "where NDJSON was due", "country_code", "token"):
        assert text in said[str(MIXED)], text
    assert "revoked" in said[str(UNKNOWN_KEY)]
    assert "lacks a scope" in said[str(NO_SCOPE)]
    assert "redirects to" in said[str(ELSEWHERE)]
    assert "[key]" in said[str(MIXED)]
    assert "where NDJSON was due" in (story.folder / "backfill.log").read_text()
    assert "doctor" in (story.folder / "doctor.log").read_text().lower()
    assert "535" in (story.folder / "send.log").read_text()
    assert (story.here.home / "data" / "report.html").exists()


# Where it is looked for


def test_no_file_holds_a_secret_but_deliveries_as_they_came(story: Story) -> None:
    data = story.here.home / "data"
    found = files_with_secret(story.folder)
    delivered = [path for path in found if re.search(r"\.ndjson(\.zst)?$", path.name)]
    assert [path for path in found if path not in delivered] == []
    assert sorted(path.relative_to(data).parts[0] for path in delivered) == ["landing", "quarantine"]
    looked_at = {path.suffix for path in story.folder.rglob("*") if path.is_file()}
    assert {".zst", ".db", ".duckdb", ".sqlite", ".log", ".out", ".err", ".html", ".txt"} <= looked_at


def test_no_process_is_started_with_a_secret(story: Story) -> None:
    assert [line for line in story.command_lines if holds_secret(line)] == []
    for part in (b"dagster_webserver", b"dagster._daemon", b"spawn_main", b"/soundlink\0doctor"):
        assert any(part in line for line in story.command_lines), part


def test_no_alert_says_the_key(story: Story) -> None:
    assert not any(holds_secret(json.dumps(body).encode()) for body in story.receiver.bodies)
    told = {body["run_id"] for body in story.receiver.bodies}
    assert {run_id for day, run_id in story.runs.items() if day != SCHEDULED} <= told


def test_the_ui_answers_nothing_with_a_secret(story: Story) -> None:
    """Every field of its GraphQL that can be asked for, and the pages beside it."""
    client = story.here.client
    ask = Questions(story.here)
    answers = [ask.root(name) for name in ask.without_arguments()]
    debug_files = []
    for run_id in story.runs.values():
        answers += [ask.root(name, f'(runId: "{run_id}")') for name in ("logsForRun", "runOrError")]
        answers.append(ask.ask(f'{{runOrError(runId: "{run_id}") {{... on Run {{parentPipelineSnapshotId}}}}}}'))
        # All of its events, whole.
        debug = client.get(f"{story.here.url}/download_debug/{run_id}").content
        debug_files.append(gzip.decompress(debug).decode())
    # An error anywhere may leave nothing of the answer.
    assert [answer for answer in answers if "errors" in json.loads(answer) and "as advertised" not in answer] == []
    answers += debug_files
    answers += [client.get(f"{story.here.url}{path}").text for path in ("/", "/server_info")]
    assert [answer for answer in answers if holds_secret(answer.encode())] == []
    everything = "\n".join(answers)
    # The settings that are no secret are there, so the search is in the right place.
    for text in ("[key]", "SOUNDLINK", "elsewhere.invalid", "where NDJSON was due", *story.runs.values()):
        assert text in everything, text


# These fields raise for most of what has them, and since they may not be null they take the whole answer with them.
UNANSWERABLE = {
    "AssetMaterializationPlannedEvent": ("pipelineName",),
    "AssetNode": ("dataVersionByPartition", "staleCausesByPartition", "staleStatusByPartition"),
    "DaemonHealth": ("daemonStatus",),
    "Instance": ("concurrencyLimit",),
    "PartitionBackfill": ("partitionsTargetedForAssetKey",),
}
# What is asked for by itself, and would be asked again for each asset, or each partition of each asset.
ASKED_BY_ITSELF = {
    "AssetNode": ("repository",),
    "MaterializationEvent": ("runOrError", "stepStats"),
    "ObservationEvent": ("runOrError", "stepStats"),
    "Run": ("eventConnection", "parentPipelineSnapshotId"),
}


class Questions:
    """Queries made from the server's own schema: all fields that need no argument, to a depth."""

    def __init__(self, here: Deployment) -> None:
        self.here = here
        kind = "kind name ofType {kind name ofType {kind name ofType {kind name ofType {kind name}}}}"
        schema = self.ask(
            "{__schema {queryType {name} types {kind name possibleTypes {name}"
            f" fields {{name args {{defaultValue type {{kind}}}} type {{{kind}}}}}}}}}}}"
        )
        found = json.loads(schema)["data"]["__schema"]
        self.types = {made["name"]: made for made in found["types"]}
        self.query = self.types[found["queryType"]["name"]]

    def ask(self, query: str) -> str:
        return self.here.client.post(f"{self.here.url}/graphql", json={"query": query}).text

    def without_arguments(self) -> list[str]:
        return [made["name"] for made in self.query["fields"] if not _needs_argument(made)]

    def root(self, name: str, arguments: str = "") -> str:
        (made,) = (made for made in self.query["fields"] if made["name"] == name)
        inner = self.fields(_named(made["type"]), depth=2)  # one more is ten times as much to ask
        return self.ask(f"{{{name}{arguments} {inner}}}")

    def fields(self, name: str, depth: int) -> str:
        """The selection of a type; every field under a name of its own, so that none of a union is in another's way."""
        made = self.types[name]
        if made["kind"] in ("SCALAR", "ENUM"):
            return ""
        if made["kind"] in ("UNION", "INTERFACE"):
            parts = [f"... on {one['name']} {self.fields(one['name'], depth)}" for one in made["possibleTypes"]]
            return "{__typename " + " ".join(parts) + "}"
        chosen = ["__typename"]
        left_out = (*UNANSWERABLE.get(name, ()), *ASKED_BY_ITSELF.get(name, ()))
        for part in made["fields"]:
            if part["name"] in left_out:
                continue
            target = _named(part["type"])
            is_leaf = self.types[target]["kind"] in ("SCALAR", "ENUM")
            if not _needs_argument(part) and (is_leaf or depth > 0):
                chosen.append(f"{name}_{part['name']}: {part['name']} {self.fields(target, depth - 1)}")
        return "{" + " ".join(chosen) + "}"


def _needs_argument(made: dict[str, Any]) -> bool:
    return any(each["type"]["kind"] == "NON_NULL" and each["defaultValue"] is None for each in made["args"])


def _named(made: dict[str, Any]) -> str:
    while made.get("ofType"):
        made = made["ofType"]
    return str(made["name"])
