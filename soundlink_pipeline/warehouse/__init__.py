"""Where rows are kept: how the warehouse is opened, which tables it has, and what its ledger answers.

`home` is the interface of a place that keeps the tables, `native_file` the one there is, `instances` opens files;
`ledger` asks over an open connection. Outside this room nobody knows paths, log files or the database's error texts.
"""
