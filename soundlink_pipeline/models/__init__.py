"""Reads, builds and tests the folder of SQL models, which is laid out as dbt's.

It contains nothing about Soundlink: the models themselves are in `dbt_like_sql/`. `docs/sql-models.md` says what of dbt
is honoured. The way of a model: `folder` and `yaml_files` read what lies there, `config` puts its settings together,
`templates` (within `limits`) and `context` render it, `read_models`, `read_sources`, `read_tests` and `not_honoured`
make a `project` of it all, which `order` sorts; `binding` checks it against an empty warehouse, `build` makes the
tables, and `verdicts` judges the tests.
"""
