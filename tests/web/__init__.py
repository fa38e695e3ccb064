"""The review desk, with a client of HTTP and in a real browser."""
