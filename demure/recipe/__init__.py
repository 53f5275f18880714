"""What a run is made of: frozen dataclasses, read from YAML with overrides, every unknown key refused."""
