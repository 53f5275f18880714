"""`demure export`: a run in forms that others serve, checked against its own scores; exact and approximate top-k."""
