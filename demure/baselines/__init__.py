"""Baselines, behind the scoring interface that demure itself is evaluated with."""
