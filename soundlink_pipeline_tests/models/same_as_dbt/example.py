"""A small dbt project by hand, with what dbt makes of it: the verdict of every test, and where models are."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import dedent

from soundlink_pipeline_tests.models.same_as_dbt.random_project import PROFILES, DbtProject

SETTINGS = """
name: soundlink
version: "1.0"
config-version: 2
profile: soundlink
"""


@dataclass(frozen=True)
class Example:
    """`verdicts` are by test, in words: `pass`, `warn 2`, `fail 1`, `error`. `tables` are by model: schema.alias, kind
    and tags. What is not listed there is not built. A model's `rows` are those of its only column. dbt leaves out the
    tests of `left_out`, for they ref what is not there; the pipeline says that they cannot be run.
    """

    files: dict[str, str]
    verdicts: dict[str, str] = field(default_factory=dict)
    tables: dict[str, str] | None = None
    rows: dict[str, list[object]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def project(self) -> DbtProject:
        files = {"dbt_project.yml": SETTINGS, "profiles.yml": PROFILES, **self.files}
        return DbtProject({name: dedent(text).lstrip("\n") for name, text in files.items()})


# Seven of ten ids are none of 0, 1, 2.
TEN = "select i::bigint as id, i::bigint % 2 = 0 as even, i::bigint // 4 as part from range(10) as t(i)"
