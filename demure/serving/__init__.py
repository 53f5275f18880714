"""`demure export`: a run as files for other programs, checked against its scores; exact and approximate top-k."""
