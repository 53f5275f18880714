"""Training, its checkpoints, and everything that is done with a finished run."""
