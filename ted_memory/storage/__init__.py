"""Where sets and episodes are kept: `redis` speaks to servers, `embedded` runs one beside the program."""
