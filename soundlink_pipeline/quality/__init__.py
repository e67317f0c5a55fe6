"""Questions about loaded rows, answered with the rows that are wrong or missing.

Each check is a query over one open connection. `orchestration` decides how a result looks in the UI and whether it
stops a run.
"""
