"""What else could load the exports: each a script of its own, run in an environment of its own (`make alternatives`).

Each reads the same job (`job.py`), fetches the same exports from the same server as it commonly would, upserts them
into a new DuckDB file, and prints what it took. None of them checks, keeps history or a ledger, or lands the bytes.
"""
