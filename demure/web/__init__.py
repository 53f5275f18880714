"""`demure ui`: the report of a run, served from this machine."""
