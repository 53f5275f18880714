"""How results reach the user: terminal, tables, pictures, progress and JSON."""
