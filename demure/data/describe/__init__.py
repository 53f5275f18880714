"""What is in a dataset folder, and what in it deserves a second look."""
