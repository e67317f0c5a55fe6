"""What dbt reads in a folder and this runner does not: each file and entry gets a notice.

What refs such a thing says so, too: `SqlProject.missing` has the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from soundlink_pipeline.models.errors import NOT_HONOURED, ModelError, shown
from soundlink_pipeline.models.folder import files, read_text
from soundlink_pipeline.models.reading import Reading
from soundlink_pipeline.models.yaml_files import YamlMap

# What of dbt_project.yml is honoured, or has no meaning here.
_PROJECT_KEYS = frozenset(
    (
        *("name", "version", "config-version", "profile", "require-dbt-version", "flags", "vars", "models"),
        *("data_tests", "tests", "model-paths", "test-paths", "macro-paths", "seed-paths", "snapshot-paths"),
        *("analysis-paths", "docs-paths", "asset-paths", "function-paths", "clean-targets", "target-path", "log-path"),
        *("packages-install-path", "query-comment", "restrict-access", "dbt-cloud"),
    )
)
# Of a YAML file beside models.
_SECTIONS = ("version", "models", "sources", "data_tests", "anchors")
_KINDS = (
    ("seeds", "seed-paths", (".csv",)),
    ("snapshots", "snapshot-paths", (".sql", ".yml", ".yaml")),
    ("analyses", "analysis-paths", (".sql",)),
    ("functions", "function-paths", (".sql",)),
)


def note_the_rest(reading: Reading, model_paths: Sequence[Path]) -> None:
    """Notices for all of it; what can be named in a `ref` becomes missing with its reason."""
    content = reading.settings.content
    for key, value in content.items():
        if key not in _PROJECT_KEYS and value not in (None, [], {}):
            reading.note(reading.settings.path, content.line_of(key), f"{shown(key)} of dbt_project.yml")
    _note_sections(reading)
    _note_files(reading, model_paths)
    _read_packages(reading)


def _note_sections(reading: Reading) -> None:
    for document in reading.documents:
        for key, value in document.content.items():
            if key in _SECTIONS or not value:
                continue
            reading.note(document.path, document.content.line_of(key), shown(key).strip("'"))
            for entry in value if key in ("seeds", "snapshots") and isinstance(value, list) else ():
                if isinstance(entry, YamlMap) and isinstance(entry.get("name"), str):
                    reason = f"{NOT_HONOURED}{key} ({entry['name']})"
                    reading.project.missing.setdefault(("", entry["name"]), document.error(entry.line, reason))


def _note_files(reading: Reading, model_paths: Sequence[Path]) -> None:
    for name in (".dbtignore", "selectors.yml"):
        if (reading.folder / name).exists():
            reading.note(reading.folder / name, None, name)
    for kind, key, suffixes in _KINDS:
        for root in reading.paths(key, kind):
            for path in files(root, *suffixes):
                reading.note(path, None, kind)
                for name in _names_in(path, kind):
                    error = ModelError(path, None, f"{NOT_HONOURED}{kind} ({name})")
                    reading.project.missing.setdefault(("", name), error)
    for root in model_paths:
        for path in files(root, ".csv", ".ipynb", ".r"):
            reading.note(path, None, f"a file {path.suffix} among the models")


def _read_packages(reading: Reading) -> None:
    """The names of packages: whatever is called by one of them says that packages are not honoured."""
    for file in ("packages.yml", "dependencies.yml", "package-lock.yml"):
        path = reading.folder / file
        if not path.exists():
            continue
        if file != "package-lock.yml":
            reading.note(path, None, "packages")
        try:
            names = re.findall(r"^[\s{\[-]*(?:package|git|local|name):\s*[\"']?([\w./:@-]+)", read_text(path), re.M)
        except ModelError:
            continue  # the notice is enough
        reading.project.packages |= {name.removesuffix(".git").rpartition("/")[2].replace("-", "_") for name in names}


def _names_in(path: Path, kind: str) -> list[str]:
    """What a file of a kind that is not honoured could be referred to as."""
    if kind != "snapshots":
        return [path.stem]
    try:
        found = re.findall(r"\{%-?\s*snapshot\s+(\w+)|^\s*-\s*name:\s*(\w+)", read_text(path), flags=re.M)
    except ModelError:
        return [path.stem]
    return [name for pair in found for name in pair if name]
