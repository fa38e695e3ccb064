"""One experience set as a program holds it: `client` is its face, each other file one thing to be done with it."""
