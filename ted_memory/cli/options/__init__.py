"""Options that several commands share: a file for each group of them in a command's help."""
