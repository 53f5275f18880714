"""Item features at rest: their store in the dataset folder, their scale, their checks, their import and export."""
