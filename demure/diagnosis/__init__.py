"""Reading a diagnosis: the overview, one user, one item, the export."""
