"""How results look: one module per command, and modules for the parts that several commands share."""
