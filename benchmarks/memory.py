"""Peak memory by the size of one delivery: `python -m benchmarks.memory [--megabytes 10 100 1000]`.

One campaign's engagement export is served from a file of that size, in which every row has a key of its own; all else
is as in a run, Dagster's imports included.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.serving import DAYS, answers, ours, say, serving, verdict
from soundlink_pipeline.contracts.campaign_exports import CAMPAIGN_EXPORTS

_FLAT = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[10, 100, 1000])
    sizes: list[int] = parser.parse_args().megabytes
    lines, peaks = [], []
    with tempfile.TemporaryDirectory(prefix="soundlink-bench-") as scratch, serving() as simulator:
        folder, export = Path(scratch), CAMPAIGN_EXPORTS[1]
        found = answers(simulator, folder / "answers")
        sample = found[export.name][0][1].read_bytes().splitlines(keepends=True)
        for campaign in simulator.world.campaigns:  # the others deliver nothing
            for each in CAMPAIGN_EXPORTS:
                (folder / "empty").touch()
                simulator.serve_file(each.name, campaign.path_id, folder / "empty", 0)
        for megabytes in sizes:
            path, rows = folder / "large.ndjson", 0
            with path.open("wb") as file:
                for line in _lines(sample, megabytes * 1_000_000):
                    file.write(line)
                    rows += 1
            simulator.serve_file(export.name, simulator.world.campaigns[0].path_id, path, rows)
            result = ours(simulator, folder / f"data-{megabytes}", DAYS)
            if result["rows"] != rows:
                raise SystemExit(f"{result['rows']:,} rows were loaded of {rows:,}")
            say(f"{megabytes:,} MB: {result['seconds']:.1f} s, {result['peak_mb']:.0f} MB")
            peaks.append(result["peak_mb"])
            lines.append(f"| {megabytes:,} MB | {rows:,} | {result['seconds']:.2f} | {peaks[-1]:.0f} MB |")
    print("## Memory: one delivery of any size\n")
    print("| delivery | rows | seconds | peak memory |\n|---|---|---|---|")
    print("\n".join(lines))
    target = f"memory of one delivery flat: under 600 MB, and the largest at most {_FLAT} x the smallest"
    ratio = peaks[-1] / peaks[0]
    print("\n" + verdict(target, max(peaks) < 600 and ratio <= _FLAT, f"{max(peaks):.0f} MB, {ratio:.2f} x"))


def _lines(sample: list[bytes], size: int) -> Iterator[bytes]:
    number = 0
    while size > 0:
        line = sample[number % len(sample)]
        yield (line := line.replace(b'"engaged_spotify_track_id":"', b'"engaged_spotify_track_id":"%07d-' % number, 1))
        number, size = number + 1, size - len(line)


if __name__ == "__main__":
    main()
