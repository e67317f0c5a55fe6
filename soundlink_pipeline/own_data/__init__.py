"""Analysts' own files, in the folder `own` of the data folder: each becomes a table of schema `own`.

A file that cannot be read stops nothing: what was last read of it stays, and the table `own_files` says why. A
distributor's statements are a table of the pipeline's own besides (`statements.py`), which models read.
"""
