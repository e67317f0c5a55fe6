"""What binding a folder of models has found, in a file: the next process need not bind it again, unless it has changed.

Each run is a process of its own, and binding takes longer than all else that it does before its first step. A folder
with a fault is not remembered, so that whatever is wrong is found and said anew; nor is one whose columns may follow
from what is not in it. The file can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import duckdb

from soundlink_pipeline.contracts.exports import EXPORTS
from soundlink_pipeline.models.folder import LARGEST_BYTES, files
from soundlink_pipeline.warehouse.tables import create, warehouse_tables

FILE = "bound_models.json"

# What may make columns of other files or of values, and a variable's name that does not stand in the text. A word too
# many costs time only.
_FROM_OUTSIDE = re.compile(
    rb"\b(read_\w+|\w+_scan|\w+_query|query_table|sniff_csv|json_execute_\w+|glob|pivot|pivot_wider|getvariable|getenv)\b"
    rb"|\bquery\s*\("
    rb"|\b(from|join)\s+'"
    rb"|\.(csv|tsv|txt|json|jsonl|ndjson|parquet|arrow|ipc|feather|avro|orc|xlsx?|gz|zst)\b"
    rb"|\benv_var\s*\(\s*(?!(?P<quote>['\"])\w+(?P=quote)\s*[,)])",
    re.IGNORECASE,
)
# The types of each model's columns, by name.
Types = Mapping[str, Mapping[str, str]]


def state_of(folder: Path, environment: Mapping[str, str]) -> str | None:
    """A hash of all that binding depends on: the files, the variables they may name, our own tables, and the versions.

    None where it may depend on more. Raises OSError for what cannot be read.
    """
    paths = [path for path in files(folder, "") if path.is_file()]
    if any(path.stat().st_size > LARGEST_BYTES for path in paths):  # nothing that a person wrote
        return None
    content = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    texts = b"\n".join(content.values())
    if _FROM_OUTSIDE.search(texts):
        return None
    parts = (
        version("soundlink-pipeline"),
        duckdb.__version__,
        [create(table) for table in warehouse_tables(EXPORTS)],
        [(path, hashlib.sha256(data).hexdigest()) for path, data in content.items()],
        sorted(pair for pair in environment.items() if pair[0].encode() in texts),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def remembered(file: Path, state: str) -> Types | None:
    """What was found in this state; None where that is not known."""
    # It may hold anything.
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["state"] == state:
            return {str(name): {str(k): str(v) for k, v in types.items()} for name, types in found["types"].items()}
    return None


def remember(file: Path, state: str, types: Types) -> None:
    """Write it, if the file's folder is there and can be written to: it saves time, and nothing more.

    What a kill or another process leaves half written is no JSON, and so is not believed.
    """
    new = file.with_name(f"{file.name}.tmp")
    with suppress(OSError):
        new.write_text(json.dumps({"state": state, "types": types}), encoding="utf-8")
        new.replace(file)
