"""What Dagster sees, alerts apart: assets, checks, jobs, schedules and the pages of partitions.

These are thin faces: each calls one of the rooms below and tells Dagster what came of it. Private names of Dagster
stand in `event_log` alone.
"""
