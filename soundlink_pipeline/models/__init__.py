"""Reads, builds and tests the folder of SQL models, which is laid out as dbt's.

It knows `ref`, `source`, `config`, `var` and the generic tests, and nothing of Soundlink. What a model says is in
`dbt_like_sql/`, not here.
"""
