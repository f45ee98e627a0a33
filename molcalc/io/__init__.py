"""Files: atomic writes and locks, arrays by name, strict configuration, model directories."""
