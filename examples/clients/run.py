"""`make clients`: asks the demo's published file by each client, each in an environment of its own.

Writes the table in docs/analysts.md. Fails where a client no longer does what stands there: then the way around, or
the type that we chose, is to be looked at again. Needs the package registries of Python and, for Node, of npm, and
LibreOffice. `run.py FILE NAME…` asks the clients of these names alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
from questions import QUESTIONS

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_DOCUMENT = _ROOT / "docs" / "analysts.md"
_ENVIRONMENTS = _ROOT / ".venv-clients"
_NEXT_RUN = "the next run"
_LIBREOFFICE = "LibreOffice"
_PLACE = re.compile(r"(?<=<!-- clients -->\n).*(?=<!-- end of clients -->)", re.DOTALL)


@dataclass(frozen=True)
class Client:
    """A client, how it is installed and asked, and what is known not to work with it."""

    name: str
    script: str
    requirements: str  # requirements-….txt; "" for Node
    packages: tuple[str, ...]  # whose versions the table names
    fails: dict[str, str] = field(default_factory=dict)  # by question, with the way around
    arguments: tuple[str, ...] = ()  # of the script, after the files


_MONEY = "money becomes float64: fetch `to_arrow_table()`, and `types_mapper=pd.ArrowDtype`, or sum in SQL"
_REFLECT = "a reflected `Table` fails: write `text()`, or name the columns yourself"
_QUOTED = 'put quotes around texts, `force_quote (campaign_name)`, and tick "Format quoted field as text"'
_CALC = {
    "names like =1+1": f"such a name becomes a formula: {_QUOTED}",
    "texts like 007": "it becomes 7: the same helps",
}
CLIENTS = (
    Client(
        "DuckDB CLI",
        "duckdb_cli",
        "cli",
        ("duckdb-cli",),
        {"nulls in CSV": "`-csv` writes NULL for what is null: add `-nullvalue ''`, or `soundlink sql --format csv`"},
    ),
    Client("DuckDB for Python", "duckdb_python", "python-1.5", ("duckdb",)),
    Client("pandas", "with_pandas", "pandas", ("pandas", "duckdb"), {"money": _MONEY, "days": "days become midnights"}),
    Client("polars", "with_polars", "polars", ("polars", "duckdb")),
    Client("ibis", "with_ibis", "ibis-1.5", ("ibis-framework", "duckdb")),
    Client(
        "ibis",
        "with_ibis",
        "ibis-2.0",
        ("ibis-framework", "duckdb"),
        {
            "list_tables()": "`list_tables()` fails, and `sql()`: take `pip install duckdb==1.5.6`",
            "sql()": "or name the tables and use `raw_sql()`",
        },
    ),
    Client("SQLAlchemy", "with_sqlalchemy", "sqlalchemy-1.4", ("sqlalchemy", "duckdb-engine", "duckdb")),
    Client(
        "SQLAlchemy",
        "with_sqlalchemy",
        "sqlalchemy-2.0",
        ("sqlalchemy", "duckdb-engine", "duckdb"),
        {"a reflected table": _REFLECT},
    ),
    Client(
        "SQLAlchemy",
        "with_sqlalchemy",
        "sqlalchemy-2.1",
        ("sqlalchemy", "duckdb-engine", "duckdb"),
        {"columns": "`get_columns()` fails: take SQLAlchemy 2.0", "a reflected table": _REFLECT},
    ),
    Client("JupySQL", "with_jupysql", "jupysql", ("jupysql", "duckdb")),
    Client("marimo", "with_marimo", "marimo", ("marimo", "polars", "duckdb")),
    Client("Node", "with_node", "", ("@duckdb/node-api",)),
    Client("Superset", "with_superset", "superset", ("apache-superset", "sqlalchemy", "duckdb-engine", "duckdb")),
    Client(
        "LibreOffice Calc, by CSV, in English",
        "with_calc",
        "python-1.5",
        ("duckdb", _LIBREOFFICE),
        _CALC,
        ("1033",),
    ),
    Client(
        "LibreOffice Calc, by CSV, in German",
        "with_calc",
        "python-1.5",
        ("duckdb", _LIBREOFFICE),
        {
            **_CALC,
            "money": "`224.41` becomes a text, and `1.234` is read as 1234: import with the language English (USA)",
            "ratios": "",
            "a money of three decimals": "",
        },
        ("1031",),
    ),
)


def main() -> None:
    published = Path(sys.argv[1] if len(sys.argv) > 1 else _ROOT / "demo/data/soundlink.duckdb")
    chosen = sys.argv[2:]
    if missing := [name for name in ("node", "npm", "soffice") if shutil.which(name) is None]:
        raise SystemExit(
            f"make clients needs {' and '.join(missing)} on the path: on Debian, apt-get install npm libreoffice-calc"
        )
    lines, changed = ["| client | tried with | works | does not, and the way around |", "|---|---|---|---|"], []
    with tempfile.TemporaryDirectory(prefix="soundlink-clients-") as scratch:
        right, newer = _right(published), _newer(published, Path(scratch) / "newer.duckdb")
        for client in CLIENTS:
            versions = ", ".join(f"{name} {_version(client, name)}" for name in client.packages)
            lines.append(
                f"| {client.name} | {versions} | {_told(client)} | {'; '.join(filter(None, client.fails.values()))} |"
            )
            if chosen and client.name not in chosen:
                continue
            print(f"{client.name} ({client.requirements or 'npm'})", file=sys.stderr, flush=True)
            python = _installed(client)
            file = Path(scratch) / "soundlink.duckdb"
            shutil.copyfile(published, file)
            wrong = _wrong(_asked(client, python, file, newer), right)
            unlike = set(client.fails) ^ set(wrong)
            changed += [
                f"{client.name}, {client.requirements}: {name}: {wrong.get(name, 'works now')}" for name in unlike
            ]
    text = _DOCUMENT.read_text(encoding="utf-8")
    _DOCUMENT.write_text(_PLACE.sub(lambda _: "\n".join(lines) + "\n", text), encoding="utf-8")
    if changed:
        raise SystemExit("No longer as docs/analysts.md says:\n" + "\n".join(changed))


def _told(client: Client) -> str:
    *most, last = client.fails or [""]
    return f"all but {', '.join(most)}{' and ' if most else ''}{last}" if client.fails else "all"


def _newer(published: Path, file: Path) -> Path:
    """What the next publication would put in the file's place, told by its run."""
    shutil.copyfile(published, file)
    file.chmod(0o600)
    with duckdb.connect(str(file)) as connection:
        connection.execute("update publication set run_id = ?", [_NEXT_RUN])
    return file


def _installed(client: Client) -> Path:
    """The Python that asks, with the client's packages beside it."""
    if not client.requirements:
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=_HERE / "node", check=True)
        return Path(sys.executable)
    place = _ENVIRONMENTS / client.requirements
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    locked = ["--no-deps", "--require-hashes", "-r", str(_HERE / f"requirements-{client.requirements}.txt")]
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([str(python), "-m", "pip", "install", *quiet, *locked], check=True)
    return python


def _asked(client: Client, python: Path, file: Path, newer: Path) -> dict[str, dict[str, str | None]]:
    script = str(_HERE / f"{client.script}.py")
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [str(python), script, str(file), str(newer), *client.arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"question"')]
    return {line.pop("question"): line for line in told}


def _wrong(answers: dict[str, dict[str, str | None]], right: dict[str, str | None]) -> dict[str, str]:
    """By question, what was answered instead of what is `right`; a question that it does not have is of counts."""
    return {
        name: answer.get("error") or f"{answer['answer']}, not {right.get(name, right['counts'])}"
        for name, answer in answers.items()
        if "error" in answer or answer["answer"] != right.get(name, right["counts"])
    }


def _right(published: Path) -> dict[str, str | None]:
    with duckdb.connect(str(published), read_only=True) as connection:
        values = {name: connection.execute(sql).fetchall()[0][0] for name, sql in QUESTIONS.items()}
    right = {name: None if value is None else str(value) for name, value in values.items()}
    asked_otherwise = {"money as Arrow": right["money"], "nulls in CSV": "", "columns": "True", "list_tables()": "True"}
    asked_otherwise |= {"names like =1+1": "=1+1", "such names, quoted": "=1+1", "texts like 007": "007"}
    asked_otherwise |= {
        "such texts, quoted": "007",
        "a money of three decimals": "1.234",
        "the same, as English": "1.234",
    }
    return {**right, **asked_otherwise, "next publication": _NEXT_RUN}


def _version(client: Client, package: str) -> str:
    if package == _LIBREOFFICE:
        told = subprocess.run(["soffice", "--version"], capture_output=True, text=True, check=True).stdout
        return told.split()[1]
    locked = _HERE / (f"requirements-{client.requirements}.txt" if client.requirements else "node/package.json")
    found = re.search(
        rf'(?:^|"){re.escape(package)}(?:==|": ")([^\s"]+)', locked.read_text(encoding="utf-8"), re.MULTILINE
    )
    return found[1] if found else "?"


if __name__ == "__main__":
    main()
