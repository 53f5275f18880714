"""Do the parts of a stage in this process, or by workers on a Ray cluster (`--on ray`)."""
