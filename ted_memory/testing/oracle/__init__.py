"""A store in a process's own memory. It states what the scripts do, and is no store for users."""
