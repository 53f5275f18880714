"""Data that knows its answer: planted sets, the embedded catalogue, and the score of a diagnosis against the truth."""
