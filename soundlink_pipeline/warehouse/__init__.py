"""Where rows are kept: how the warehouse is opened, which tables it has, and what its ledger answers.

`home` says what a home of the warehouse offers, `native_file` is the one there is. Outside this room nobody knows
paths, log files or the database's error texts.
"""
