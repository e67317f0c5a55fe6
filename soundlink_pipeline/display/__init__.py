"""Renders rows for people: Markdown tables, trends and charts, for the Dagster UI and the report.

It is given rows or an open connection and returns text. It decides nothing.
"""
