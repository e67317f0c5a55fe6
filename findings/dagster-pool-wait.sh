#!/usr/bin/env bash
# Question: two runs of an op share a pool of one place, both executed in a process of their own without a daemon
#   (`dagster job execute`, or in process as here). How much of a processor does the run use that waits for the other?
# Guess: next to none: while it waits, it sleeps between looks at the pool.
# What happens: as much of a core as it gets. With nothing else to do the executor asks the pool when it may look again, and the answer
#   can never be later than now, so that it looks again at once.
# Seen with dagster 1.13.28, Python 3.11, Linux x86_64:
#   waited 7.8 s, of which 4.0 s on the processor (two processors, busy with other things)
# Fails if the run that waits uses less than a third of a core.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check dagster==1.13.28
mkdir "$folder/home"
cat > "$folder/home/dagster.yaml" <<'YAML'
telemetry: {enabled: false}
concurrency:
  pools: {default_limit: 1, granularity: op}
YAML
cat > "$folder/runs.py" <<'PYTHON'
import logging
import sys
import time

import dagster as dg

logging.disable(logging.CRITICAL)


@dg.op(pool="one")
def work(context: dg.OpExecutionContext) -> None:
    print("at work", flush=True)
    time.sleep(float(sys.argv[1]))


@dg.job(executor_def=dg.in_process_executor)
def job() -> None:
    work()


with dg.DagsterInstance.get() as instance:
    print("ready", flush=True)
    sys.stdin.readline()
    began, used = time.monotonic(), time.process_time()
    assert job.execute_in_process(instance=instance).success
    print(f"{time.monotonic() - began} {time.process_time() - used}", flush=True)
PYTHON
cd "$folder"
DAGSTER_HOME="$folder/home" "$folder/venv/bin/python" -W ignore - <<'PYTHON'
import subprocess
import sys


def run(seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "runs.py", str(seconds)]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None and started.stdout.readline() == "ready\n"
    return started


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


first = run(6)
second = run(0)
begin(first)
assert first.stdout is not None and first.stdout.readline() == "at work\n"
begin(second)
waited, used = map(float, second.communicate()[0].splitlines()[-1].split())
first.communicate()
print(f"waited {waited:.1f} s, of which {used:.1f} s on the processor")
assert waited > 3 and used > waited / 3
PYTHON
