"""`soundlink init`: a project folder, made from the installed package alone."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from soundlink_pipeline.commands.execution import check_project_folder
from soundlink_pipeline.commands.outcome import CommandFailed
from soundlink_pipeline.commands.project_folder import ACCOUNTS_EXAMPLE, ENV_FILE, INSTANCE_FILE, WORKSPACE_FILE
from soundlink_pipeline.settings.settings import SQL_FOLDER, Settings

# In the repository they are links to the files at its top.
_TEMPLATES = Path(__file__).with_name("project")
_SQL_FILES = ("*.yml", "macros/**/*.sql", "models/**/*.sql", "models/**/*.yml", "tests/**/*.sql")
_NOT_FOR_GIT = (".env", ".dagster/", ".soundlink*.lock", "data/", "demo/")


def make_project(folder: Path) -> None:
    """Make the folder and what belongs into it, and say what comes next. Raises CommandFailed; then nothing is left."""
    made = not folder.exists()
    try:
        check_project_folder(folder.absolute())
        if not made and (not folder.is_dir() or any(folder.iterdir())):
            raise CommandFailed(f"{folder} is not an empty folder: soundlink init makes a new one")
        folder.mkdir(parents=True, exist_ok=True)
        fill(folder, (_TEMPLATES / "env.example").read_text(encoding="utf-8"))
        shutil.copyfile(_TEMPLATES / ACCOUNTS_EXAMPLE, folder / ACCOUNTS_EXAMPLE)
        copy_sql(Settings().sql_dir, folder / SQL_FOLDER)
        (folder / ".gitignore").write_text("\n".join(_NOT_FOR_GIT) + "\n", encoding="utf-8")
    except ValueError as error:
        raise CommandFailed(str(error)) from None
    except OSError as error:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        file = error.filename2 or error.filename or folder  # of a copy the second one
        raise CommandFailed(f"{file} cannot be made ({error.strerror})") from None
    place = folder.resolve()
    enter = "" if place == Path.cwd() else f"  cd {shlex.quote(str(folder))}\n"
    print(
        f"""\
Made a project in {place}. Next:
{enter}  $EDITOR .env          # SOUNDLINK_API_KEY=sk_…
  soundlink doctor      # is the key valid, is everything in place?
  soundlink pull --days 90
  soundlink dev         # the Dagster UI, and the daily refresh
  soundlink sql         # ask the numbers"""
    )


def fill(folder: Path, settings: str) -> None:
    """Dagster's configuration and, last, `.env`, which nobody else may read: it has the key. Raises OSError."""
    for name in (INSTANCE_FILE, WORKSPACE_FILE):
        shutil.copyfile(_TEMPLATES / name, folder / name)
    file = folder / ENV_FILE
    file.touch(0o600)
    file.write_text(settings, encoding="utf-8")


def copy_sql(source: Path, target: Path) -> None:
    """The SQL folder, without what dbt and editors leave in it. Raises OSError."""
    for pattern in _SQL_FILES:
        for path in source.glob(pattern):
            relative = path.relative_to(source)
            if path.is_file() and not any(part.startswith(".") for part in relative.parts):
                (target / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / relative)
