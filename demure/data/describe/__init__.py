"""Statistics of a dataset folder, and conspicuous items and users."""
