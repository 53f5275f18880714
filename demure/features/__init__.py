"""Item features at rest: the store in the dataset folder, their scale, and their import and export."""
