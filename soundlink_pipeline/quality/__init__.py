"""Questions about loaded rows, answered with the rows that are wrong or missing.

Each check is a query over one open connection. How an answer looks in the UI, and whether it stops a run, is told by
`orchestration`.
"""
