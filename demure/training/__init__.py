"""Training: the loops of the denoiser and of the baselines, their checkpoints, and the diagnosis at the end."""
