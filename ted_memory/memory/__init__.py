"""One experience set, as a program holds it."""
