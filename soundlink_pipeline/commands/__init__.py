"""What `make` runs, and what writes the generated documents. No other room imports this one.

Each module is a command of its own, to be run with `python -m`.
"""
