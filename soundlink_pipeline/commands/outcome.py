"""How a command ends when it does not end well: `cli.main` turns these into an exit code and one sentence."""

from __future__ import annotations


class CommandFailed(Exception):
    """The command has failed; the message says what is wrong and what to do."""


class Interrupted(Exception):
    """The user has ended the command; the message says, in one line, what is left and how to go on."""
