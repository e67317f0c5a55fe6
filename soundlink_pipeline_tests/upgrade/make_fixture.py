"""Makes the project folder that the upgrade test opens: by an earlier version's own code, commands and simulator.

`python -m soundlink_pipeline_tests.upgrade.make_fixture [--python PATH]` takes the version from git and its locked
requirements from the package registry (`--python`: an environment that has them), lets it live through LIFE, and
writes `f89b957.tar.xz`, the folder as it was left, and `f89b957.json`, what that version saw in it.

The simulated clock is fixed, so rows, deliveries and settled days come out the same on any day; moments of our own
clock and ids of runs do not, and the two files belong together.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tarfile
import tempfile
import urllib.request
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMIT = "f89b957"
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ARCHIVE, FACTS = HERE / f"{COMMIT}.tar.xz", HERE / f"{COMMIT}.json"

WORLD = {"seed": 5, "campaigns": 4, "countries": 3, "tracks": 2, "first-day": "2026-01-01"}
Row = dict[str, Any]
# The simulated morning of each run, its first and last day, and what is wrong with one of its deliveries.
LIFE = (
    ("2026-01-20T07:00", "2026-01-01", "2026-01-19", None),
    ("2026-01-21T07:00", "2026-01-13", "2026-01-20", None),
    ("2026-01-22T07:00", "2026-01-14", "2026-01-21", "refused"),
    ("2026-01-22T08:00", "2026-01-14", "2026-01-21", None),
    ("2026-01-25T07:00", "2026-01-15", "2026-01-24", "vanished"),
)
TROUBLES: dict[str, Callable[[list[Row]], list[Row]]] = {
    "refused": lambda rows: [rows[0] | {"impressions": -1}, *rows[1:]],
    "vanished": lambda rows: [row for row in rows if (row["report_date"], row["country_code"]) != ("2026-01-20", "NA")],
}
NEXT_TICK = "2026-01-26T07:00+00:00"
# What is kept of the folder: no logs of steps, nothing temporary.
LEFT_OUT = {"logs", "tmp"}
EXPORT = "campaign_country_daily"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m soundlink_pipeline_tests.upgrade.make_fixture", description=__doc__
    )
    parser.add_argument("--python", type=Path, help="of an environment with that version's requirements")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soundlink-upgrade-") as temporary:
        checkout, folder = Path(temporary, "checkout"), Path(temporary, "project")
        _check_out(checkout)
        python = given.python.absolute() if given.python else _environment(checkout, Path(temporary, "venv"))
        version = Version(python, checkout, folder)
        requests = version.live()
        seen = version.run(str(HERE / "facts.py"), NEXT_TICK)
        about = {"commit": COMMIT, "world": WORLD, "next tick": NEXT_TICK, "requests": requests}
        FACTS.write_text(json.dumps(about | json.loads(seen.splitlines()[-1]), indent=1) + "\n", encoding="utf-8")
        _pack(folder)
    print(f"{ARCHIVE.name}: {ARCHIVE.stat().st_size / 1e6:.2f} MB; {FACTS.name}: {FACTS.stat().st_size / 1e3:.0f} kB")


def _check_out(checkout: Path) -> None:
    checkout.mkdir()
    tar = subprocess.run(["git", "archive", COMMIT], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x"], cwd=checkout, input=tar, check=True)


def _environment(checkout: Path, at: Path) -> Path:
    venv.create(at, with_pip=True)
    pip = [str(at / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "-r", str(checkout / "requirements.txt")], check=True)
    subprocess.run([*pip, "--no-build-isolation", "-e", str(checkout)], check=True)
    return at / "bin" / "python"


class Version:
    """An earlier version at work in a project folder, by the commands that its users had."""

    def __init__(self, python: Path, checkout: Path, folder: Path) -> None:
        self._python, self._folder = str(python), folder
        folder.mkdir()
        for name in ("dagster.yaml", "workspace.yaml"):
            (folder / name).write_bytes((checkout / name).read_bytes())
        self._env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(checkout),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DAGSTER_HOME": str(folder),
        }

    def live(self) -> int:
        """Every run of LIFE, in order; the number of requests they made."""
        requests = 0
        with self._simulator() as api:
            for moment, start, end, trouble in LIFE:
                api.switch("clock", now=f"{moment}+00:00")
                if trouble is not None:
                    api.answer_with(start, end, TROUBLES[trouble])
                before = api.requests()
                done = self._start("-m", "soundlink_pipeline.backfill", start, end)
                if done.returncode != (1 if trouble == "refused" else 0):
                    raise SystemExit(f"{start} to {end}: not the end this run should come to\n{done.stderr}")
                requests += api.requests() - before
                print(f"{start} to {end}: {trouble or 'well'}")
        # No port of a simulator that has gone: the one that its documentation names.
        self._write_env("http://127.0.0.1:8765", api.key)
        return requests

    def run(self, *command: str) -> str:
        """What a Python command prints; SystemExit with its errors where it fails."""
        done = self._start(*command)
        if done.returncode:
            raise SystemExit(done.stderr)
        return done.stdout

    def _start(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._python, *command], cwd=self._folder, env=self._env, capture_output=True, text=True, check=False
        )

    @contextmanager
    def _simulator(self) -> Iterator[Api]:
        options = [f"--{name}={value}" for name, value in WORLD.items()]
        options += ["--quiet", "--port=0", "--per-minute=0", "--per-hour=0", f"--now={LIFE[0][0]}"]
        command = [self._python, "-m", "soundlink_pipeline.simulator", *options]
        with subprocess.Popen(command, env=self._env, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                words = process.stdout.readline().split()
                api = Api(words[3], words[-1])
                self._write_env(api.base_url, api.key)
                yield api
            finally:
                process.terminate()

    def _write_env(self, base_url: str, key: str) -> None:
        settings = {
            "API_KEY": key,
            "BASE_URL": base_url,
            "START_DATE": WORLD["first-day"],
            "REQUESTS_PER_MINUTE": 100_000,
            "REQUESTS_PER_HOUR": 100_000,
            "LANDING_RETENTION_DAYS": 36_500,  # the simulated days get older, and their files are to stay
        }
        lines = [f"SOUNDLINK_{name}={value}\n" for name, value in settings.items()]
        (self._folder / ".env").write_text("".join(lines), encoding="utf-8")


class Api:
    """A running simulator of an earlier version, over HTTP."""

    def __init__(self, base_url: str, key: str) -> None:
        self.base_url, self.key = base_url, key

    def switch(self, name: str, **content: object) -> None:
        self._send(f"/_simulator/{name}", json.dumps(content).encode())

    def requests(self) -> int:
        return int(json.loads(self._send("/_simulator/stats"))["requests"])

    def answer_with(self, start: str, end: str, change: Callable[[list[Row]], list[Row]]) -> None:
        """Change one delivery of the next run: of its rows, those that `change` makes of them."""
        campaign = json.loads(self._send("/v1/campaigns"))["data"]["items"][-1]["campaignId"]
        path = f"/v1/campaigns/{campaign}/metrics/breakdown/export?startDate={start}&endDate={end}"
        rows = [json.loads(line) for line in self._send(path).splitlines()]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in change(rows)]
        self.switch("faults", kind="body", export=EXPORT, campaign=campaign, body="".join(lines))

    def _send(self, path: str, content: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.base_url + path, content, {"x-api-key": self.key})
        with urllib.request.urlopen(request) as response:
            return bytes(response.read())


def _pack(folder: Path) -> None:
    def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if LEFT_OUT & set(Path(member.name).parts) or member.name.endswith(".lock"):
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    with tarfile.open(ARCHIVE, "w:xz") as archive:
        archive.add(folder, ".", filter=kept)


if __name__ == "__main__":
    main()
