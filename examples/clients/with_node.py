"""Node's @duckdb/node-api, one process a question (node/ask.mjs)."""

import json
import subprocess
from pathlib import Path

from asked import FILE, answer

_SCRIPT = Path(__file__).parent / "node" / "ask.mjs"


def ask(sql: str) -> object:
    done = subprocess.run(["node", str(_SCRIPT), str(FILE), sql], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "node failed")
    return json.loads(done.stdout)


answer(ask)
