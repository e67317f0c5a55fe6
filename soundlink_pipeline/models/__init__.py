"""Reads, builds and tests the folder of SQL models, which is laid out as dbt's.

It supports `ref`, `source`, `config`, `var` and dbt's generic tests, and contains nothing about Soundlink: the models
themselves are in `dbt_like_sql/`.
"""
