"""Evaluation: metrics, full ranking, slices, and paired tests between methods."""
