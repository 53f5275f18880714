"""How the result of each command looks."""
