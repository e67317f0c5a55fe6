"""What `make` runs and what writes the generated documents: faces for people, imported by nobody.

Each module is a command of its own, to be run with `python -m`.
"""
