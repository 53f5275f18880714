"""Folders and files at a URL (`s3://` and all else that fsspec opens): fetched into a cache, written as versions."""
