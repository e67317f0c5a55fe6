"""Speaks to the Soundlink API over HTTP, or says why not: one request after another, within the API's limits.

What arrives is bytes in a file and the answer's headers; no module here knows rows or tables. Faults of the network and
of the server are handled here and nowhere else.
"""
