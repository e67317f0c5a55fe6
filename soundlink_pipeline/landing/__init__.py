"""Keeps deliveries on disk as they came, so that the warehouse can be made anew from them without a request.

A file's name is its record, and a file under its final name is whole. Change the names only together with a way to
read the old ones.
"""
