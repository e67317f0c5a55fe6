"""The command `soundlink`, which `make` calls, and what writes the generated documents. No other room imports this one.

`cli.py` has the words of the command line, and each command is in the module of its name. Those that write documents
are run with `python -m`.
"""
