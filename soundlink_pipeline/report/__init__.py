"""The report: one self-contained HTML page made from a published file.

`python -m soundlink_pipeline.report` writes it. It reads the published file only, so it never waits for a run.
"""
