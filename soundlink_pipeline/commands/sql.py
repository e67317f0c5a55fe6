"""`soundlink sql`: asks the published file, in a small shell or with one query. It is opened read-only."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import cast

import duckdb

from soundlink_pipeline.commands.execution import loaded_settings
from soundlink_pipeline.commands.outcome import CommandFailed
from soundlink_pipeline.commands.project_folder import enter_project, require_data
from soundlink_pipeline.publishing.file_copy import read_published
from soundlink_pipeline.typed import typed
from soundlink_pipeline.wording import counted

STYLES = ("table", "line", "csv", "json")
_FOR_PROGRAMS = ("csv", "json")  # in UTF-8, whatever the terminal's encoding is
_ROWS_SHOWN = 40  # in a terminal; elsewhere all are
# A table that is too wide for the terminal is tried again with narrower columns, and then shown as lines.
_WIDEST_COLUMNS = (60, 36, 24)
_LOOKS_EVERY_SECONDS = 0.1
_COMMAND = re.compile(r"\.(tables|format|reopen|help|exit|quit)\b")
_EXITS = (".exit", ".quit")
_PROMPT, _MORE = "soundlink> ", "      ...> "
# The alias of an answer: no column of one has that name.
_ROW = "soundlink_row"
# What DuckDB answers to a statement that has no rows, such as SET.
_OF_NO_ROWS = ["Success"]
# In DuckDB's JSON.
_STRING_OR_NO_NUMBER = re.compile(r'("(?:[^"\\]|\\.)*")|-?(?:NaN|Infinity)')
_HELP = """\
A statement ends with ; and may have several lines. The file is read-only.
  .tables             the tables and views
  .format table|line|csv|json
  .reopen             see what was published since this shell was opened
  .exit               or Ctrl-D
Ctrl-C drops the line, or ends the query that runs. docs/analysts.md has queries to begin with."""
_TABLES = """
    select schema_name || '.' || name as name, comment
    from (
        select schema_name, table_name as name, comment from duckdb_tables() where not internal
        union all
        select schema_name, view_name, comment from duckdb_views() where not internal
    )
    order by schema_name, name
"""


def ask(query: str | None, style: str) -> None:
    """Answer `query`, or the statements of a standard input that is no terminal; else open the shell.

    Raises click.ClickException, CommandFailed.
    """
    require_data(enter_project())
    if style in _FOR_PROGRAMS and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    file = loaded_settings().data_dir / "soundlink.duckdb"
    if query is None:
        shell = _Shell(file, style)
        if sys.stdin.isatty():
            shell.run()
        else:
            shell.run_lines(sys.stdin)
        return
    with _told(), connected(file) as connection:
        answer(connection, query, style)


@contextlib.contextmanager
def connected(file: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection in UTC; waits while the file is being replaced. Raises CommandFailed, duckdb.Error."""
    if not file.exists():
        raise CommandFailed(
            f"{file} is not there yet: {typed('pull --from=DAY --to=DAY')} pulls days and publishes it ({typed('demo')}"
            " makes one with made-up data)"
        )
    with read_published(file) as connection:
        connection.execute("set TimeZone = 'UTC'")
        yield connection


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise CommandFailed(str(error).strip()) from None


def answer(connection: duckdb.DuckDBPyConnection, statements: str, style: str) -> None:
    """Run statements and print their rows; Ctrl-C ends them all. Raises duckdb.Error, KeyboardInterrupt."""
    interrupted = threading.Event()
    # One handler for all: an exception between two could be raised where Python swallows it, as in a finalizer.
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        for statement in connection.extract_statements(statements):
            _answer_unless(interrupted, connection, statement.query, style)
    finally:
        signal.signal(signal.SIGINT, before)


def _answer_unless(
    interrupted: threading.Event, connection: duckdb.DuckDBPyConnection, statement: str, style: str
) -> None:
    """Run one statement and print its rows. Raises duckdb.Error, KeyboardInterrupt as soon as `interrupted` is set."""
    # In a thread of its own: DuckDB looks for a signal only now and then, and not in every query.
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(_answer, connection, statement, style)
        while not wait([running], timeout=_LOOKS_EVERY_SECONDS).done:
            if interrupted.is_set():  # each time, since the query may only begin now
                connection.interrupt()
    if interrupted.is_set():
        raise KeyboardInterrupt
    running.result()


def _answer(connection: duckdb.DuckDBPyConnection, statement: str, style: str) -> None:
    # Of a statement without rows there is none, whatever DuckDB's type says.
    rows = cast("duckdb.DuckDBPyRelation | None", connection.sql(statement))
    if rows is None or rows.columns == _OF_NO_ROWS:
        return
    if style == "csv":
        _print_csv(rows)
    elif style == "json":
        _print_json(rows)
    elif style == "line":
        _print_lines(rows)
    elif sys.stdout.isatty():
        _print_fitting(rows.materialize(), shutil.get_terminal_size().columns)
    else:
        rows.show(max_rows=sys.maxsize, max_width=1 << 20, max_col_width=1 << 20)


def _print_fitting(rows: duckdb.DuckDBPyRelation, width: int) -> None:
    """A table of `width` characters that leaves no column out; if there is none, a line for each value."""
    for widest in _WIDEST_COLUMNS:
        table = io.StringIO()
        with contextlib.redirect_stdout(table):
            rows.show(max_rows=_ROWS_SHOWN, max_width=1 << 20, max_col_width=widest)
        if max(map(len, table.getvalue().split("\n"))) <= width:
            print(table.getvalue(), end="")
            return
    _print_lines(rows, _ROWS_SHOWN)


def _print_lines(rows: duckdb.DuckDBPyRelation, most: int | None = None) -> None:
    """A line for each value, with its column's name, and an empty one after each row; the first `most` rows."""
    found = _fetched(rows, f"select columns(*)::varchar from {_ROW}")
    longest = max(map(len, rows.columns))
    for values in found[:most]:
        for name, value in zip(rows.columns, values, strict=True):
            print(f"{name:<{longest}}  {'NULL' if value is None else value}")
        print()
    print(counted(len(found), "row") + (f", the first {most} of them shown" if most and len(found) > most else ""))


def _print_csv(rows: duckdb.DuckDBPyRelation) -> None:
    """Each value as DuckDB writes it; a missing one is empty."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(rows.columns)
    writer.writerows(_fetched(rows, f"select columns(*)::varchar from {_ROW}"))


def _print_json(rows: duckdb.DuckDBPyRelation) -> None:
    """An array with an object for each row, one a line; numbers to the last digit, as DuckDB writes them.

    JSON has no infinity and no NaN: they are null.
    """
    objects = [
        _STRING_OR_NO_NUMBER.sub(lambda found: found[1] or "null", text)
        for (text,) in _fetched(rows, f"select to_json({_ROW})::varchar from {_ROW}")
    ]
    print("[" + ",".join(f"\n{text}" for text in objects) + ("\n]" if objects else "]"))


def _fetched(rows: duckdb.DuckDBPyRelation, query: str) -> list[tuple[str, ...]]:
    """The rows as a query over them, `_ROW`, gives them."""
    found = rows.query(_ROW, query)
    return found.fetchall() if found is not None else []


class _Shell:
    """Reads statements from the terminal until it is told to stop, or from a pipe until its end."""

    def __init__(self, file: Path, style: str) -> None:
        self._file = file
        self._style = style
        self._inode = 0
        self._lines: list[str] = []  # of a statement that has not ended

    def run_lines(self, lines: Iterable[str]) -> None:
        """Answer what comes from a pipe; the first error ends it. Raises CommandFailed."""
        lines, before = _read_text(lines), list[str]()
        with _told(), connected(self._file) as connection:
            for line in [*lines, _EXITS[0]]:
                if not _is_command(line, before):
                    before.append(line)
                    continue
                answer(connection, "".join(before), self._style)
                before.clear()
                if line.strip() in _EXITS:
                    return
                self._command(connection, line.strip())

    def run(self) -> None:
        with contextlib.ExitStack() as stack:
            connection = self._open(stack)
            with _history():
                print(f"{self._file}, read-only. .help lists the commands, Ctrl-D ends.")
                while (entry := self._read()) is not None:
                    if entry == ".reopen":
                        stack.close()
                        connection = self._open(stack)
                    elif entry:
                        try:
                            self._run(connection, entry)
                        except KeyboardInterrupt:
                            print("Interrupted.")

    def _open(self, stack: contextlib.ExitStack) -> duckdb.DuckDBPyConnection:
        with _told():
            connection = stack.enter_context(connected(self._file))
        self._inode = self._file.stat().st_ino
        return connection

    def _read(self) -> str | None:
        """One command, or statements that end with a semicolon; empty for a line that was dropped; None at the end."""
        try:
            while (entry := self._taken(input(_MORE if self._lines else _PROMPT))) is None:
                pass
        except KeyboardInterrupt:
            self._lines.clear()
            print()
            return ""
        except EOFError:
            print()
            return None
        return None if entry in _EXITS else entry

    def _taken(self, line: str) -> str | None:
        """What a line completes: a command, after which an unfinished statement goes on; or statements."""
        if _is_command(line, self._lines):
            return line.strip()
        self._lines.append(line)
        text = "\n".join(self._lines).strip()
        if text and not text.endswith(";"):
            return None
        self._lines.clear()
        return text

    def _run(self, connection: duckdb.DuckDBPyConnection, entry: str) -> None:
        if entry.startswith("."):
            self._command(connection, entry)
            return
        try:
            answer(connection, entry, self._style)
        except duckdb.Error as error:
            print(str(error).strip())
        if self._file.exists() and self._file.stat().st_ino != self._inode:
            print("The file was published anew meanwhile: .reopen shows the new one.")

    def _command(self, connection: duckdb.DuckDBPyConnection, entry: str) -> None:
        name, _, rest = entry.partition(" ")
        if name == ".tables":
            answer(connection, _TABLES, self._style)
        elif name == ".format" and rest.strip() in STYLES:
            self._style = rest.strip()
        elif name == ".reopen":  # in a pipe: it was opened just now
            pass
        else:
            print(_HELP)


def _read_text(lines: Iterable[str]) -> list[str]:
    """All lines of a pipe. Raises CommandFailed if they are no text, which Python finds now or keeps as surrogates."""
    try:
        read = list(lines)
        "".join(read).encode()
    except UnicodeError:
        raise CommandFailed("what comes from the pipe is not text in UTF-8") from None
    return read


def _is_command(line: str, before: Sequence[str]) -> bool:
    """Whether a line is a command of the shell. Within a statement, a line of SQL may begin with a dot, too."""
    return line.startswith(".") and (not "".join(before).strip() or _COMMAND.match(line) is not None)


@contextlib.contextmanager
def _history() -> Iterator[None]:
    """The lines typed, kept for the next shell: in the user's folder of states, not in the project."""
    try:
        import readline  # noqa: PLC0415
    except ImportError:  # a Python without it
        yield
        return
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    file = state / "soundlink" / "sql_history"
    with contextlib.suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        readline.set_history_length(1000)
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(file)
