"""How results reach the user: the terminal, tables, progress, JSON."""
