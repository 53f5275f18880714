"""Read a diagnosis: verdicts and their reasons, the overview, segments, one user, one item, the export."""
