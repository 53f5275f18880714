"""Who watches a training: TensorBoard, Weights & Biases, MLflow and trackio behind one interface, and a profiler."""
