"""Encoders, loaded by name from the table in demure_extractors.table."""
