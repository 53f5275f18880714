"""From raw files to a dataset folder: read, check, filter, split, write."""
