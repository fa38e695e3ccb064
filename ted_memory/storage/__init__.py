"""Where sets and episodes are kept: `redis` speaks to servers, `embedded` runs one of our own."""
