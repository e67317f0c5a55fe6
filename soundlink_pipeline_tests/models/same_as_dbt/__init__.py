"""A differential test: generated and hand-written dbt projects, built and tested by dbt itself and by the pipeline.

Both get the same warehouse. Tables, columns, rows, comments and the verdict of every test must be equal, or the
pipeline must say "not honoured by soundlink: …" of just the part that is missing. `dbt_side.py` runs in dbt's own
environment; SOUNDLINK_DBT is the path of dbt's command there.
"""
