"""Measurements of speed, memory and requests; see `bench.py`."""
