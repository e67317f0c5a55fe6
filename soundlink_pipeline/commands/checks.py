"""What a command says of the checks of its run: a line for each one that failed, whatever assets it is of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import dagster as dg

from soundlink_pipeline.orchestration.unevaluated_checks import NOT_EVALUATED

# What a row check says (`quality/row_checks.py`): only the count differs from asset to asset.
_COUNTED = re.compile(r"([\d,]+ \w+) breaks? the rule: (.*)", re.DOTALL)


def evaluated_checks(instance: dg.DagsterInstance, run_id: str) -> list[dg.AssetCheckEvaluation]:
    """The evaluations of a run. What was not evaluated is told by the failure before it."""
    entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [entry.dagster_event.asset_check_evaluation_data for entry in entries if entry.dagster_event]
    return [item for item in found if not (item.description or "").startswith(NOT_EVALUATED)]


def check_lines(checks: Iterable[dg.AssetCheckEvaluation], *, failed: bool) -> Iterator[str]:
    """`warning: CHECK on ASSETS: SENTENCE` for those that did not pass.

    In a run that has `failed`, one of severity ERROR is an error.
    """
    by_check: dict[tuple[str, str], list[dg.AssetCheckEvaluation]] = {}
    for check in (check for check in checks if not check.passed):
        kind = "error" if failed and check.severity is dg.AssetCheckSeverity.ERROR else "warning"
        by_check.setdefault((kind, check.check_name), []).append(check)
    for (kind, name), found in by_check.items():
        for sentence, assets in _by_sentence(found):
            said = f"{kind}: {name} on {_listed(assets)}"
            yield f"{said}: {sentence}" if sentence else said


def _by_sentence(checks: Iterable[dg.AssetCheckEvaluation]) -> Iterator[tuple[str, list[str]]]:
    """What is said, and of which assets; sentences that differ only in a count are one, with all counts or the one."""
    said: dict[str, dict[str, str]] = {}
    for check in checks:
        sentence, count = check.description or "", ""
        if match := _COUNTED.fullmatch(sentence):
            count, sentence = match.groups()
        said.setdefault(sentence, {})[check.asset_key.to_user_string()] = count
    for sentence, counts in said.items():
        found = [count for count in counts.values() if count]
        if not found:
            yield sentence, list(counts)
            continue
        alike = len(set(found)) == 1
        many = f"{found[0]} each" if alike and len(found) > 1 else _listed(found)
        breaks = "breaks" if alike and found[0].startswith("1 ") else "break"
        yield f"{many} {breaks} the rule: {sentence}", list(counts)


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
