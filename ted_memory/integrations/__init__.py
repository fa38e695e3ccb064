"""Others' interfaces, each imported by its own path."""
