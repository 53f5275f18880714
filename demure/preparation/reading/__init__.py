"""Raw files as tables: formats, compression, columns, values."""
