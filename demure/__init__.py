"""demure: which modality of an item was the point of interest of an interaction, and which was noise."""

__version__ = "0.1.0"
