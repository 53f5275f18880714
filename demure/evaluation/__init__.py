"""Judging: full ranking, metrics, and paired comparisons of anything that scores users against items."""
