"""README.md's commands, run as they stand there and in its order: what a newcomer types in a clone."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from soundlink_pipeline.api.key import DEMO_KEY
from soundlink_pipeline.settings.env_file import read_env_file
from soundlink_pipeline_tests.support.deployment import BIN, free_port, simulated_api
from soundlink_pipeline_tests.support.document import Serving, programs, run_shell, shell_blocks
from soundlink_pipeline_tests.support.project import KEY, REPOSITORY

README = REPOSITORY / "README.md"
TRY_IT, OWN_KEY = shell_blocks(README)
(QUERY,) = re.findall(r"^```sql\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
# What README.md tells of a command within a sentence.
TOLD = set(re.findall(r"`(make [^`]+)`", README.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's files, as git would bring them."""
    folder = tmp_path_factory.mktemp("clone") / "soundlink-pipeline"
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        source = REPOSITORY / name
        if source.exists():  # one that was deleted and not yet committed is listed, too
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def environment(clone: Path) -> dict[str, str]:
    """One in which `make` installs nothing: what it would install is there, and the clone's package goes before."""
    found = programs(clone.parent / "bin", make=f"{shutil.which('make')} --old-file=install BIN={BIN}")
    return {**found, "HOME": str(clone.parent), "PYTHONPATH": str(clone)}


@pytest.fixture(scope="module")
def demo(clone: Path, environment: dict[str, str]) -> str:
    """What `make demo` writes. Its API is at a port of its own then: another demo may run on this machine."""
    (command,) = [line for line in TRY_IT.splitlines() if not line.startswith("make test ")]
    said = run_shell(command, clone, environment)
    settings = clone / "demo" / ".env"
    settings.write_text(re.sub(r"127.0.0.1:\d+", f"127.0.0.1:{free_port()}", settings.read_text()))
    return said


@pytest.fixture
def serving(clone: Path, environment: dict[str, str]) -> Iterator[Serving]:
    """`make dev` on the demo, whose API it runs along."""
    made = Serving(f"make dev PORT={free_port()}", clone, environment)
    try:
        made.until("Ctrl-C stops it.")
        yield made
    finally:
        made.kill()


@pytest.mark.slow  # make demo alone takes most of a minute
def test_the_demo_is_made_and_says_what_is_next(clone: Path, demo: str) -> None:
    assert "10. " in demo
    assert "DEBUG" not in demo
    for line in ("make dev ", "make sql ", "make status ", "make report "):
        assert line in demo
    assert read_env_file(clone / "demo" / ".env")["SOUNDLINK_API_KEY"] == DEMO_KEY
    # Of what may surprise in section 5, it says why, and what tells more.
    assert "late rows" in demo
    assert "make totals" in demo


@pytest.mark.slow  # make demo alone takes most of a minute
def test_commands_without_an_env_file_work_on_the_demo(clone: Path, demo: str, environment: dict[str, str]) -> None:
    assert {"make status", "make sql", 'make report CAMPAIGN="Sleep Playlist 1"', "make help"} <= TOLD
    said = run_shell('make status\nmake help\nmake report CAMPAIGN="Sleep Playlist 1"', clone, environment)
    assert f"Project     {clone / 'demo'}\n" in said
    counted = dict(re.findall(r"^ +(\w+_daily) +\d.* (\d+)$", demo, re.MULTILINE))
    assert len(counted) == 4
    assert counted == {name: rows.replace(",", "") for name, rows in re.findall(r"(\w+_daily): ([\d,]+) rows of", said)}
    assert f"Written: {clone / 'demo' / 'data'}/report" in said
    answer = run_shell(f"make sql <<'END'\n{QUERY}\nEND", clone, environment)
    rows = [line.split("│") for line in answer.split("\n") if line.startswith("│")][2:]
    assert len(rows) > 5
    assert all(re.fullmatch(r" *\d+\.\d\d *", row[3]) for row in rows), answer  # money, to the cent


@pytest.mark.slow  # make demo alone takes most of a minute
def test_a_backfill_of_the_demo_needs_what_readme_says_it_needs(
    clone: Path, demo: str, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    (backfill,) = [line for line in OWN_KEY.splitlines() if line.startswith("make backfill ")]
    with pytest.raises(AssertionError, match="this is the demo, whose API runs only while make dev does"):
        run_shell(backfill, clone, environment)
    serving: Serving = request.getfixturevalue("serving")
    said = run_shell(backfill, clone, environment)
    assert f"Published: {clone / 'demo' / 'data' / 'soundlink.duckdb'}" in said
    doctor = run_shell("make doctor", clone, environment)
    assert re.search(r"(all checks passed|: runs can start)$", doctor.strip())
    assert serving.end() != 0  # make says so of what Ctrl-C ends
    assert "Stopped: no scheduled run starts until the next make dev." in serving.written
    assert not re.search(r"DEBUG|No cursor|Traceback", serving.written)


def test_three_lines_lead_to_the_own_key(clone: Path, environment: dict[str, str]) -> None:
    with simulated_api(KEY) as sim:
        said = run_shell(OWN_KEY, clone, {**environment, "SOUNDLINK_BASE_URL": sim.base_url})
    assert f"Published: {clone / 'data' / 'soundlink.duckdb'}" in said
    assert read_env_file(clone / ".env")["SOUNDLINK_API_KEY"] == KEY
    status = run_shell("make status", clone, environment)
    assert f"Project     {clone}\n" in status
