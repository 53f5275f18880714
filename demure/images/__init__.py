"""Image files: where they are, and how they are decoded without harm."""
