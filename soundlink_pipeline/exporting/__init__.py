"""Exports the published file as Parquet: to a folder, S3 or Google Cloud Storage, only the days that have changed.

Readers see the export that the manifest names, whole, or the one before. Nothing here opens the warehouse, so that no
target holds up a pull or an analyst.
"""
