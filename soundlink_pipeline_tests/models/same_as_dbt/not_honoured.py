"""What dbt reads and the pipeline need not: each adds itself to a project, and says which parts it may cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from soundlink_pipeline_tests.models.same_as_dbt.random_models import RandomModel
from soundlink_pipeline_tests.models.same_as_dbt.values import Column


@dataclass
class Draft:
    """A project in the making. `entries` are the YAML entries of its models, `extra` are further YAML sections."""

    models: list[RandomModel]
    entries: dict[str, dict[str, Any]]
    files: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    project: dict[str, Any] = field(default_factory=dict)
    refused_models: set[str] = field(default_factory=set)
    refused_tests: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def any_model(self, rng: Random) -> RandomModel:
        return rng.choice([model for model in self.models if not model.incremental and not model.disabled])

    def has_model(self) -> bool:
        return any(not model.incremental and not model.disabled for model in self.models)

    def over(self, name: str, of: str, columns: str = "*") -> None:
        """A model that reads what is refused."""
        self.models.append(
            RandomModel(name, "", [Column("x", "integer")], f"select {columns} from {{{{ ref('{of}') }}}}")
        )
        self.models[-1].refs.add(of)
        self.entries[name] = {"name": name}
        self.refused_models.add(name)


Feature = Callable[[Draft, Random], None]


def _seed(draft: Draft, rng: Random) -> None:
    draft.files["seeds/a_seed.csv"] = "x,country\n1,US\n2,\n"
    draft.over("over_seed", "a_seed")
    draft.extra["seeds"] = [{"name": "a_seed", "columns": [{"name": "x", "data_tests": ["unique"]}]}]
    draft.refused_tests.add("a_seed: unique_x")


def _snapshot(draft: Draft, rng: Random) -> None:
    model = RandomModel("to_snapshot", "", [Column("x", "integer")], "select 1::bigint as x")
    draft.models.append(model)
    draft.entries[model.name] = {"name": model.name}
    config = {"unique_key": "x", "strategy": "check", "check_cols": "all"}
    draft.extra["snapshots"] = [{"name": "a_snapshot", "relation": "ref('to_snapshot')", "config": config}]
    draft.over("over_snapshot", "a_snapshot", "x")


def _python(draft: Draft, rng: Random) -> None:
    draft.files["models/in_python.py"] = """
        def model(dbt, session):
            dbt.config(materialized="table")
            return session.sql("select 1::bigint as x")
    """
    draft.refused_models.add("in_python")
    draft.over("over_python", "in_python")


def _hooks(draft: Draft, rng: Random) -> None:
    model = draft.any_model(rng)
    key = rng.choice(("pre_hook", "post_hook"))
    place = rng.choice((model.in_file, model.in_yaml))
    place[key] = "create or replace table main.hooked as select 1 as x"
    draft.refused_models.add(model.name)


def _on_run(draft: Draft, rng: Random) -> None:
    draft.project[rng.choice(("on-run-start", "on-run-end"))] = ["create or replace table main.ran as select 1 as x"]


def _unit_test(draft: Draft, rng: Random) -> None:
    given = {"input": "source('soundlink', 'campaigns')", "rows": [{"campaign_id": "x"}]}
    model = RandomModel(
        "tested", "", [Column("c", "text")], "select campaign_id as c from {{ source('soundlink', 'campaigns') }}"
    )
    draft.models.append(model)
    draft.entries[model.name] = {"name": model.name}
    unit = {"name": "a_unit", "model": "tested", "given": [given], "expect": {"rows": [{"c": "y"}]}}
    draft.extra["unit_tests"] = [unit]


def _exposure(draft: Draft, rng: Random) -> None:
    model = draft.any_model(rng)
    owner = {"name": "Ann", "email": "ann@example.com"}
    draft.extra["exposures"] = [
        {"name": "a_board", "type": "dashboard", "owner": owner, "depends_on": [f"ref('{model.name}')"]}
    ]


def _group(draft: Draft, rng: Random) -> None:
    draft.extra["groups"] = [{"name": "finance", "owner": {"name": "Ann"}}]
    draft.any_model(rng).in_yaml["group"] = "finance"


def _packages(draft: Draft, rng: Random) -> None:
    draft.files["packages.yml"] = "packages:\n  - local: ./a_package\n"
    draft.files["dbt_packages/a_package/dbt_project.yml"] = "name: a_package\nversion: '1.0'\n"
    draft.files["dbt_packages/a_package/macros/one.sql"] = "{% macro one() %}1::bigint{% endmacro %}\n"
    draft.files["dbt_packages/a_package/models/of_package.sql"] = "select {{ one() }} as x\n"
    draft.refused_models.add("of_package")
    _own(draft, "with_package", "select {{ a_package.one() }} as x", {}, [])
    draft.over("over_package", "of_package")


def _analysis(draft: Draft, rng: Random) -> None:
    draft.files["analyses/an_analysis.sql"] = f"select * from {{{{ ref('{draft.any_model(rng).name}') }}}}\n"


def _docs(draft: Draft, rng: Random) -> None:
    model = draft.any_model(rng)
    draft.files["models/texts.md"] = "{% docs a_text %}\nA long\ntext.\n{% enddocs %}\n"
    draft.entries[model.name]["description"] = "{{ doc('a_text') }}"
    draft.refused_models.add(model.name)


def _contract(draft: Draft, rng: Random) -> None:
    columns = [{"name": "x", "data_type": "bigint"}]
    _own(draft, "contracted", "select 1::bigint as x", {"contract": {"enforced": True}}, columns)


def _ephemeral(draft: Draft, rng: Random) -> None:
    _own(draft, "passing", "select 1::bigint as x", {"materialized": "ephemeral"}, [])
    draft.over("over_passing", "passing")


def _append(draft: Draft, rng: Random) -> None:
    strategy = rng.choice(({"incremental_strategy": "append"}, {"unique_key": "x"}, {"on_schema_change": "fail"}))
    _own(draft, "appended", "select 1::bigint as x", {"materialized": "incremental", **strategy}, [])


def _store_failures(draft: Draft, rng: Random) -> None:
    tests = [{"unique": {"config": {"store_failures": True}}}]
    _own(draft, "stored", "select 1::bigint as x", {}, [{"name": "x", "data_tests": tests}])
    draft.refused_models.remove("stored")
    draft.refused_tests.add("stored: unique_x")


def _words_of_dbt(draft: Draft, rng: Random) -> None:
    sql = rng.choice(
        (
            "{% set found = run_query('select 1') %}select {{ 1 if execute else 0 }}::bigint as x",
            "select 1::bigint as {{ adapter.quote('x') }}",
            "select '{{ modules.re.sub('a', 'b', 'aa') }}' as x",
            "{% do log('a word') %}select 1::bigint as x",
            "select {% if nobody_knows %}1{% else %}2{% endif %}::bigint as x",
            "select 1::{{ dbt.type_bigint() }} as x",
        )
    )
    _own(draft, "asking", sql, {}, [])


def _header(draft: Draft, rng: Random) -> None:
    _own(draft, "headed", "select 1::bigint as x", {"sql_header": "set threads = 1;"}, [])


def _version(draft: Draft, rng: Random) -> None:
    draft.files["models/versioned_v1.sql"] = "select 1::bigint as x"
    draft.files["models/versioned_v2.sql"] = "select 2::bigint as x"
    draft.entries["versioned"] = {"name": "versioned", "latest_version": 1, "versions": [{"v": 1}, {"v": 2}]}
    draft.refused_models |= {"versioned", "versioned_v1", "versioned_v2"}
    draft.over("over_version", "versioned")


def _source_test(draft: Draft, rng: Random) -> None:
    draft.extra["source tests"] = [{"name": "campaign_id", "data_tests": ["unique", "not_null"]}]
    draft.refused_tests |= {"campaigns: unique_campaign_id", "campaigns: not_null_campaign_id"}


def _own(draft: Draft, name: str, sql: str, config: dict[str, Any], columns: list[dict[str, Any]]) -> None:
    """A model of its own that may be refused."""
    draft.models.append(RandomModel(name, "", [Column("x", "integer")], sql))
    draft.models[-1].in_yaml = config
    draft.entries[name] = {"name": name, **({"columns": columns} if columns else {})}
    draft.refused_models.add(name)


# By a word that must be in what the pipeline says of it; without one where it may as well be honoured.
FEATURES: dict[str, Feature] = {
    "seed": _seed,
    "snapshot": _snapshot,
    "Python": _python,
    "hook": _hooks,
    "on-run": _on_run,
    "unit": _unit_test,
    "exposure": _exposure,
    "group": _group,
    "package": _packages,
    "analys": _analysis,
    "contract": _contract,
    "store_failures": _store_failures,
    "sql_header": _header,
    "version": _version,
}
MAY_BE_HONOURED = (_docs, _ephemeral, _append, _words_of_dbt, _source_test)


def add_features(rng: Random, draft: Draft) -> None:
    """In half of the projects one or two."""
    if rng.random() < 0.5 or not draft.has_model():
        return
    for word in rng.sample(list(FEATURES), rng.randint(0, 2)):
        FEATURES[word](draft, rng)
        draft.told.append(word)
    if rng.random() < 0.4:
        rng.choice(MAY_BE_HONOURED)(draft, rng)
