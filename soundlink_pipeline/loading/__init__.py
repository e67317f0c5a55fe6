"""Brings landed bytes into the tables: read typed, checked as whole deliveries, merged in one transaction.

A delivery is loaded whole or refused whole. No row passes through Python: rules are SQL that is made from the
contracts.
"""
