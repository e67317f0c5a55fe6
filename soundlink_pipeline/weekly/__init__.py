"""The weekly report: the answer of the report's page, by mail or to any other receiver, each week once.

Dagster sends it on Mondays, after the refresh; `soundlink report --send` sends it at once. A mail shows pictures that
hold no text, since a server without fonts draws them, and has the whole page attached.
"""
