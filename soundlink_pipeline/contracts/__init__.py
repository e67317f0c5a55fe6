"""What Soundlink delivers, as data: every export with its columns and rules, the campaigns, and the calendar of days.

An export or a column is added here, and the rest of the package follows. Nothing here imports a library or another
room, so that every room may import it.
"""
