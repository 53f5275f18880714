"""Prepare a log that no machine holds: its parts on the workers of a cluster, by the same rules as in memory."""
