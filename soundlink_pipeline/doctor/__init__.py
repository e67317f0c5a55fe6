"""The doctor: finds, before a run does, what would make a run fail, and says in plain words what to do about it.

    __main__.py        the command `make doctor`: one line per finding; exit code 1 if one is a fault
    examination.py     the order of the checks; no text leaves it with a secret
    installation.py    packages, settings, definitions, SQL models
    storage.py         data folder, disk, warehouse file
    api.py             host, key, scopes, clock, limits
    dagster_state.py   instance, daemon, schedules and sensors, runs
    data.py            newest days, published file, quarantine, landed files

It changes nothing: the warehouse is only read, and what the API delivers is not loaded. Its few requests are counted
like those of a run, and it never waits for a limit.
"""
