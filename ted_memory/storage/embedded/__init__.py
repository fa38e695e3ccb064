"""A server of our own for a home folder, shared by all programs that have it open."""
