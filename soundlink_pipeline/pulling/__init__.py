"""From a range of days to loaded rows: which requests are worth making, making them, landing and loading what comes.

It also finishes what an interrupted run left, and makes the warehouse anew from landed files. It knows nothing of
Dagster.
"""
