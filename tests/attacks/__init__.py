"""Attack texts for the tests: what a poisoner would have a memory keep, or an agent read."""
