"""What a user may set: read from the environment and checked in one place.

A new setting is a field of `Settings` and a line of `settings_from`. Importing this room builds nothing; keys are not
settings, they are read when a request needs them.
"""
