"""A home of the warehouse: what may go wrong when it is opened, read or written."""

from __future__ import annotations


class WarehouseLocked(Exception):
    """Another process has the warehouse open; the message says which."""


class WarehouseUnusable(Exception):
    """The warehouse file cannot be opened, read or written; the message says why and what to do."""
