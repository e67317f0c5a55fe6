"""The documents keep step: every setting, table, model, check and target is named, links lead somewhere."""

import re
import subprocess
from pathlib import Path

import dagster as dg
import pytest

from soundlink_pipeline.definitions import build_definitions
from soundlink_pipeline.settings.settings import Settings
from soundlink_pipeline.warehouse.native_file import NativeFile

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DECISIONS = (ROOT / "DECISIONS.md").read_text(encoding="utf-8")
SETTINGS_TEXT = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
TABLES = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
CHECKS = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
READ_IN = ("settings/accounts.py", "definitions.py", "settings/receivers.py", "settings/settings.py")
SETTINGS = sorted(
    {
        name
        for file in READ_IN
        for name in re.findall(r'"(SOUNDLINK_\w+)"', (ROOT / "soundlink_pipeline" / file).read_text(encoding="utf-8"))
    }
)
ENTRIES = re.findall(r"^## (\d+)\. .*?(?=^## |\Z)", DECISIONS, re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_readme_can_be_read_at_one_sitting() -> None:
    assert len(README.split()) <= 1_100


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        if file.startswith("http"):
            continue
        target = document.parent / file if file else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_readme_leads_to_every_document() -> None:
    others = {path.relative_to(ROOT).as_posix() for path in DOCUMENTS if path.name != "README.md"}
    assert {name for name in others if f"]({name})" not in README} == set()


# Settings, commands, tables, checks


@pytest.mark.parametrize("setting", SETTINGS)
def test_setting_is_documented_and_in_the_example(setting: str) -> None:
    assert f"| `{setting}` |" in SETTINGS_TEXT
    assert re.search(rf"^#?{setting}=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)


def test_every_setting_documented_is_one_that_is_read() -> None:
    assert set(re.findall(r"`(SOUNDLINK_\w+)`", SETTINGS_TEXT)) == set(SETTINGS)
    for document in DOCUMENTS:
        assert set(re.findall(r"`(SOUNDLINK_\w+)`", document.read_text(encoding="utf-8"))) <= set(SETTINGS), document


def test_every_make_command_in_the_documents_is_a_target_and_help_lists_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert {"help", "install", "demo", "dev", "backfill", "test", "check", "bench"} <= targets
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        named = {name for pair in re.findall(r"^make (\w+)|`make (\w+)", text, re.MULTILINE) for name in pair}
        assert named - {""} <= targets, document
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert targets - {"lint", "types", "tests"} == set(re.findall(r"^  make (\w+)", listed, re.MULTILINE))


def test_every_table_and_view_is_documented(tmp_path: Path) -> None:
    with NativeFile(tmp_path).write() as connection:
        names = connection.execute(
            "select table_name from duckdb_tables() union all select view_name from duckdb_views() where not internal"
        ).fetchall()
    for (name,) in names:
        assert name.startswith("_") or f"`{name}`" in TABLES


def test_every_mart_is_documented() -> None:
    marts = {path.stem for path in (ROOT / "dbt_like_sql" / "models" / "marts").glob("*.sql")}
    assert marts
    assert {name for name in marts if f"`{name}`" not in TABLES} == set()


def test_every_check_is_documented_and_no_other() -> None:
    graph = build_definitions(Settings(), lambda _: None).resolve_asset_graph()
    own = {path.stem for path in (ROOT / "dbt_like_sql" / "tests").glob("*.sql")}
    rows = [line for line in CHECKS.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    assert named == {key.name for key in graph.asset_check_keys} - own
    blocking = {name for row in rows for name in re.findall(r"`([a-z_]+)` \*", row)}
    exports = [dg.AssetKey("campaign_country_daily"), dg.AssetKey("campaign_engagement_daily")]
    specs = [graph.get_check_spec(key) for key in graph.asset_check_keys if key.asset_key in exports]
    assert blocking == {spec.name for spec in specs if spec.blocking}


# Recipes and records


def test_every_path_in_contributing_exists() -> None:
    named = re.findall(r"`((?:soundlink_pipeline|soundlink_pipeline_tests|dbt_like_sql|docs)/[\w./]+)`", CONTRIBUTING)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [int(number) for number in ENTRIES] == list(range(1, len(ENTRIES) + 1))


def test_every_decision_is_found_under_one_topic() -> None:
    rows = re.findall(r"^\| [^|]+ \| ([\d, ]+) \|$", DECISIONS.partition("\n## ")[0], re.MULTILINE)
    listed = [int(number) for row in rows for number in row.split(",")]
    assert sorted(listed) == list(range(1, len(ENTRIES) + 1))


def test_every_decision_has_its_date_and_its_parts() -> None:
    days = []
    for entry in re.split(r"^## ", DECISIONS, flags=re.MULTILINE)[1:]:
        title = entry.partition("\n")[0]
        found = re.search(r"\A.*\n\n(\d{4}-\d\d-\d\d)\n\n", entry)
        assert found, title
        days.append(found[1])
        parts = re.findall(r"^- \*\*(\w[\w ]*):\*\*", entry, re.MULTILINE)
        assert parts[:4] == ["Context", "Decision", "Weighed", "Consequence"], title
        assert set(parts[4:]) <= {"Supersedes", "Superseded by"}, title
    assert days == sorted(days)


def test_superseded_decisions_and_their_successors_name_each_other() -> None:
    entries = dict(enumerate(re.split(r"^## ", DECISIONS, flags=re.MULTILINE)[1:], start=1))

    def pairs(part: str) -> set[tuple[int, int]]:
        found = {n: re.search(rf"\*\*{part}:\*\* entry (\d+)", text) for n, text in entries.items()}
        return {(n, int(match[1])) for n, match in found.items() if match}

    assert pairs("Supersedes") == {(new, old) for old, new in pairs("Superseded by")}
    assert all(new > old for new, old in pairs("Supersedes"))


def test_newest_released_version_is_the_package_s() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    released = re.search(r"^## (\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version
    assert released
    assert version[1] == released[1]


FOLDERS = (".", "dbt_like_sql", "deploy", "benchmarks/alternatives", "examples/clients")
LOCKED = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("requirements*.txt"))]
CLIENTS = ROOT / "examples" / "clients"


@pytest.mark.parametrize("file", LOCKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_requirements_are_pinned_with_hashes_and_name_no_host(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    pins = re.findall(r"^[\w.\[\]-]+==", text, re.MULTILINE)
    assert len(pins) > (50 if file.name == "requirements.txt" else 0)
    assert text.count("--hash=sha256:") >= len(pins)
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)


def test_node_packages_are_locked_and_name_no_host() -> None:
    text = (CLIENTS / "node" / "package-lock.json").read_text(encoding="utf-8")
    assert text.count('"integrity"') > 5
    assert '"resolved"' not in text


def test_each_client_was_tried_with_the_versions_that_are_locked() -> None:
    table = (ROOT / "docs" / "analysts.md").read_text(encoding="utf-8").partition("<!-- clients -->")[2]
    rows = [line.split(" | ") for line in table.partition("<!-- end of clients -->")[0].splitlines()[3:]]
    assert len(rows) >= 12
    files = [CLIENTS / "node" / "package.json", *CLIENTS.glob("requirements-*.txt")]
    locked = [path.read_text(encoding="utf-8") for path in files if path in LOCKED or path.suffix == ".json"]
    for _, tried, *_ in rows:
        pins = [tuple(package.split(" ")) for package in tried.split(", ") if not package.startswith("LibreOffice ")]
        assert any(
            all(f"{name}=={version} " in text or f'"{name}": "{version}"' in text for name, version in pins)
            for text in locked
        ), tried
