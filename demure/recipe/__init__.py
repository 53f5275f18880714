"""Recipes: what decides a run, as frozen dataclasses read from YAML with overrides; unknown keys are refused."""
