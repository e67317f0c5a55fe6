"""The doctor: finds what would make a run fail before one does, and says in plain words what to do about it.

    __main__.py        the command `make doctor`: one line per finding; exit code 1 if one is a fault
    checks.py          all checks in order; takes secrets out of every text
    installation.py    packages, settings, definitions, SQL models
    storage.py         data folder, disk, warehouse file
    api.py             host, key, scopes, clock, limits
    dagster_state.py   instance, daemon, schedules and sensors, runs
    data.py            newest days, published file, quarantine, landed files

It changes nothing: it only reads the warehouse, and loads nothing that the API delivers. Its few requests count towards
the limits like those of a run, and it never waits for a limit.
"""
