"""`make clients`: exports the demo's published file, and compares the sums that each reader of Parquet finds.

`run.py FILE NAME…` asks the readers of these names alone. Each has the environment of the client of that name in
`examples/clients`; DuckDB's is of version 1.5. Fails where a reader finds others than the published file has.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from soundlink_pipeline.exporting.export import export

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_CLIENTS = _ROOT / "examples" / "clients"
_SUMS = "select count(*), sum(streams), sum(spend_total) from campaign_country_daily"
# By reader, whose environment it has.
READERS = {"polars": "polars", "pandas": "pandas", "pyarrow": "pandas", "duckdb": "python-1.5"}


def main() -> None:
    published = Path(sys.argv[1] if len(sys.argv) > 1 else _ROOT / "demo/data/soundlink.duckdb")
    chosen = sys.argv[2:] or list(READERS)
    with duckdb.connect(str(published), read_only=True) as connection:
        right = " ".join(str(value) for value in connection.execute(_SUMS).fetchall()[0])
    wrong = []
    with tempfile.TemporaryDirectory(prefix="soundlink-parquet-") as scratch:
        target = Path(scratch) / "parquet"
        for timestamps in ("utc", "naive"):
            export(published, str(target), timestamps=timestamps, now=datetime.now(UTC))
            for reader in chosen:
                found = _found(reader, target)
                print(f"{reader}, {timestamps}: {', '.join(found)}", file=sys.stderr, flush=True)
                wrong += [f"{reader}, {timestamps}: {line}, not {right}" for line in found if line != right]
    if wrong:
        raise SystemExit("Not what the published file has:\n" + "\n".join(wrong))


def _found(reader: str, target: Path) -> list[str]:
    """What it finds by the manifest, and by pattern."""
    python = _installed(READERS[reader])
    command = [str(python), str(_HERE / f"with_{reader}.py"), str(target)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def _installed(name: str) -> Path:
    place = _ROOT / ".venv-clients" / name
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    locked = ["--no-deps", "--require-hashes", "-r", str(_CLIENTS / f"requirements-{name}.txt")]
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([str(python), "-m", "pip", "install", *quiet, *locked], check=True)
    return python


if __name__ == "__main__":
    main()
