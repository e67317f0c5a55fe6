"""Soundlink Pipeline: a DuckDB warehouse kept true to Soundlink's campaign exports, run by Dagster."""
