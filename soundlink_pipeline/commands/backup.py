"""`soundlink backup`: a copy of what cannot be had again, made while runs go on; the copy is a project folder itself.

It holds the landed files, from which `soundlink rebuild` makes warehouse, models and published file; analysts' own
files; the quarantine; the settings; a project's own SQL; and Dagster's state (runs, ticks, schedules), if that is in
SQLite. The warehouse is copied only if the landing lacks deliveries that it knows, whose time to be kept is over: those
rows are nowhere else.

A landed file never changes, but it is renamed once it is compressed, and deleted when its time is over: what vanishes
while it is copied is looked for again under its other name. Each SQLite file is copied by SQLite, as of one moment.
Every copy is read back: a delivery must hold the bytes that its name says, a database must be whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from soundlink_pipeline.commands.execution import loaded_settings
from soundlink_pipeline.commands.init import copy_sql
from soundlink_pipeline.commands.outcome import CommandFailed, Interrupted
from soundlink_pipeline.commands.project_folder import (
    ENV_FILE,
    INSTANCE_FILE,
    WORKSPACE_FILE,
    enter_project,
    in_use,
    require_project,
)
from soundlink_pipeline.doctor.dagster_state import sqlite_folder
from soundlink_pipeline.durable import sync_path
from soundlink_pipeline.landing.deliveries import digest_of, read_listing_name, read_name
from soundlink_pipeline.landing.folder import Landing
from soundlink_pipeline.landing.stored import COMPRESSED, DamagedFile, opened, size_and_sha256
from soundlink_pipeline.own_data.folder import FOLDER
from soundlink_pipeline.settings.env_file import read_env_file
from soundlink_pipeline.settings.settings import ACCOUNTS_FILE, SQL_FOLDER, Settings
from soundlink_pipeline.warehouse.home import WarehouseLocked, WarehouseUnusable
from soundlink_pipeline.warehouse.ledger import Ledger
from soundlink_pipeline.warehouse.native_file import NativeFile
from soundlink_pipeline.wording import counted

_COMMAND = "soundlink backup"
_SQLITE = b"SQLite format 3\0"
_DATA = Path("data")
# Of SQLite, beside a database: what they hold is in its copy.
_BESIDE_SQLITE = ("-wal", "-shm", "-journal")


@dataclass
class Copied:
    """What a backup holds; `damaged` are landed files whose bytes are not those that arrived, in words."""

    files: int = 0
    bytes: int = 0
    deliveries: int = 0
    databases: int = 0
    damaged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, file: Path) -> None:
        self.files += 1
        self.bytes += file.stat().st_size


def back_up(target: Path) -> None:
    """Copy, verify, and say what was copied. Raises CommandFailed, Interrupted; then the target is as it was."""
    target = target.resolve()
    folder = enter_project()
    settings = loaded_settings()
    require_project(folder)
    home = Path(os.environ.get("DAGSTER_HOME") or folder)
    _check_target(target, [settings.data_dir, settings.sql_dir, home / ".dagster"])
    part = target.with_name(f".{target.name}.part")
    try:
        with in_use(folder, _COMMAND):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(mode=0o700, parents=True)  # it has the key
            copied = copy_project(folder, home, settings, part)
            os.sync()
            part.rename(target)
            sync_path(target.parent)
    except (OSError, sqlite3.Error, WarehouseLocked, WarehouseUnusable) as error:
        raise CommandFailed(f"nothing was backed up: {error}") from None
    except KeyboardInterrupt:
        raise Interrupted(f"Interrupted: nothing was backed up; {target} is as it was.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(
        f"Copied {counted(copied.files, 'file')}, {copied.bytes / 1e6:,.1f} MB, into {target}:"
        f" {counted(copied.deliveries, 'landed file')}, {counted(copied.databases, 'database')} of Dagster, settings."
        " Every copy was read back."
    )
    for note in copied.notes:
        print(note)
    print("To restore: copy the folder to its place, then run soundlink rebuild in it.")
    if copied.damaged:
        raise CommandFailed(
            f"{counted(len(copied.damaged), 'landed file')} damaged before the copy:\n" + "\n".join(copied.damaged)
        )


def copy_project(folder: Path, home: Path, settings: Settings, target: Path) -> Copied:
    """Copy a project into an empty folder. Raises OSError, sqlite3.Error, WarehouseLocked, WarehouseUnusable."""
    copied = Copied()
    _copy_settings(folder, home, settings, target, copied)
    _copy_dagster(home, target, copied)
    landing = Landing(settings.data_dir)
    _copy_landing(landing.root, target / _DATA / landing.root.name, copied)
    _copy_tree(landing.quarantine, target / _DATA / landing.quarantine.name, copied)
    # A link is not followed: restored as a file, what it leads to would be published.
    _copy_tree(settings.data_dir / FOLDER, target / _DATA / FOLDER, copied, links=False)
    _copy_warehouse(settings, target, copied)
    return copied


def _check_target(target: Path, copied: list[Path]) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandFailed(f"{target} is not an empty folder: name a new one for each backup")
    for source in copied:
        if target.is_relative_to(source):
            raise CommandFailed(f"{target} is within {source}, which is copied: name a folder elsewhere")


def _copy_settings(folder: Path, home: Path, settings: Settings, target: Path, copied: Copied) -> None:
    for file in (folder / ENV_FILE, home / INSTANCE_FILE, home / WORKSPACE_FILE):
        if file.is_file():
            copied.add(Path(shutil.copy2(file, target / file.name)))
    own_sql = folder / SQL_FOLDER
    if settings.sql_dir == own_sql:
        copy_sql(own_sql, target / SQL_FOLDER)
        for file in (target / SQL_FOLDER).rglob("*.*"):
            copied.add(file)
    _copy_accounts(folder, target, copied)
    elsewhere = {"SOUNDLINK_SQL_DIR": settings.sql_dir} if "SOUNDLINK_SQL_DIR" in os.environ else {}
    if settings.data_dir != folder / _DATA:
        copied.notes.append(
            f"SOUNDLINK_DATA_DIR is {settings.data_dir}; in the copy the data is in {_DATA}/, so restore it there or"
            " take the setting out"
        )
    copied.notes += [f"Not copied: {where}, which {name} names" for name, where in elsewhere.items()]
    in_file = read_env_file(folder / ENV_FILE)
    only_here = sorted(name for name in os.environ if name.startswith("SOUNDLINK_") and name not in in_file)
    if only_here:
        copied.notes.append(f"Not copied, since they are not in {ENV_FILE}: the settings {', '.join(only_here)}")
    secrets = {account.secret_env for account in settings.accounts if account.place} - in_file.keys()
    if secrets:
        copied.notes.append(f"Not copied, since they are not in {ENV_FILE}: {', '.join(sorted(secrets))}")


def _copy_accounts(folder: Path, target: Path, copied: Copied) -> None:
    """The accounts file, if there is one, to its place within the project."""
    named = Path(os.environ.get("SOUNDLINK_ACCOUNTS", "").strip() or ACCOUNTS_FILE).expanduser()
    file = Path(os.path.normpath(folder / named))
    if not file.is_file():
        return
    if not file.is_relative_to(folder):
        copied.notes.append(f"Not copied: {file}, which SOUNDLINK_ACCOUNTS names")
        return
    place = target / file.relative_to(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    copied.add(Path(shutil.copy2(file, place)))


def _copy_dagster(home: Path, target: Path, copied: Copied) -> None:
    storage = sqlite_folder(home)
    if storage is None:
        copied.notes.append("Not copied: Dagster's state, which is in no SQLite file; back up that database by itself")
        return
    root = home / ".dagster"
    if not (home / storage).is_relative_to(root):
        copied.notes.append(f"Not copied: Dagster's state in {home / storage}, outside {root}")
        return
    _copy_tree(root, target / root.name, copied)


def _copy_tree(source: Path, target: Path, copied: Copied, *, links: bool = True) -> None:
    """A folder whose files may come and go; with what its `links` lead to."""
    for file in _files(source):
        if file.is_symlink() and not links:
            continue
        place = target / file.relative_to(source)
        with contextlib.suppress(FileNotFoundError):
            if file.name.endswith(_BESIDE_SQLITE) and _is_sqlite(file.with_name(file.name.rpartition("-")[0])):
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if _is_sqlite(file):
                _copy_database(file, place)
                copied.databases += 1
            else:
                shutil.copy2(file, place)
            copied.add(place)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path


def _is_sqlite(file: Path) -> bool:
    with contextlib.suppress(FileNotFoundError), file.open("rb") as content:
        return content.read(len(_SQLITE)) == _SQLITE
    return False


def _copy_database(file: Path, place: Path) -> None:
    """As of one moment, whoever writes to it meanwhile. Raises sqlite3.Error, also for a copy that is not whole."""
    # Opened for writing, since a log that nobody has open can be read in no other way; nothing is written.
    with closing(sqlite3.connect(file, timeout=60)) as source, closing(sqlite3.connect(place)) as copy:
        source.backup(copy)
        ((verdict,),) = copy.execute("pragma quick_check(1)").fetchall()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"{file} is damaged: {verdict}")


def _copy_landing(source: Path, target: Path, copied: Copied) -> None:
    """Until no file is left that is not in the copy under either of its names."""
    done: dict[tuple[Path, str], Path] = {}
    while new := [file for file in _files(source) if _counts(file) and not _is_done(file, source, done)]:
        for file in new:
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy2(file, place)
            except FileNotFoundError:
                place.unlink(missing_ok=True)
                continue  # compressed or deleted meanwhile: the next round sees which
            before = done.get(_key(file, source))
            if before is not None:
                before.unlink()  # the plain file, compressed since
                copied.deliveries -= 1
            done[_key(file, source)] = place
            copied.deliveries += 1
            if why := _damage(place):
                copied.damaged.append(f"{file}: {why}")
    for place in done.values():
        copied.add(place)


def _counts(file: Path) -> bool:
    """Not a download under way, nor what somebody else has put there."""
    return read_name(file) is not None or read_listing_name(file) is not None


def _key(file: Path, source: Path) -> tuple[Path, str]:
    """What stays of a landed file when it is compressed."""
    delivery = read_name(file)
    name = delivery.delivery_id if delivery else file.name.removesuffix(COMPRESSED)
    return file.parent.relative_to(source), name


def _is_done(file: Path, source: Path, done: dict[tuple[Path, str], Path]) -> bool:
    place = done.get(_key(file, source))
    return place is not None and (place.name == file.name or file.suffix != COMPRESSED)


def _damage(file: Path) -> str:
    """In what way a landed file does not hold the bytes that arrived; empty where it does."""
    known = read_name(file) or read_listing_name(file)
    try:
        with opened(file) as content:
            _, sha256 = size_and_sha256(content)
    except DamagedFile as damage:
        return damage.why
    if known and known.digest not in (None, digest_of(sha256)):
        return "it does not hold the bytes that arrived"
    return ""


def _copy_warehouse(settings: Settings, target: Path, copied: Copied) -> None:
    warehouse = NativeFile(settings.data_dir)
    if not warehouse.exists():
        return
    with warehouse.read() as connection:
        known = Ledger(connection).load_orders().keys()
    lacking = known - {delivery.delivery_id for delivery in Landing(target / _DATA).deliveries()}
    if not lacking:
        return
    place = target / _DATA / warehouse.path.name
    place.parent.mkdir(parents=True, exist_ok=True)
    with warehouse.closed_file() as file:
        file.copy_to(place)
    copied.add(place)
    copied.notes.append(
        f"The warehouse was copied, too: its rows of {counted(len(lacking), 'delivery')} are no longer in the landing"
    )
