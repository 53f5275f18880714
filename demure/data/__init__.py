"""From raw files to a dataset folder: reading, checking, filtering, splitting, writing; and reading it back."""
