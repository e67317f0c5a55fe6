"""Landed files: whole or not there, told by their names, kept, replayed, never lost."""
