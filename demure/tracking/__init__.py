"""Experiment trackers (TensorBoard, Weights & Biases, MLflow, trackio) behind one interface, and a profiler."""
