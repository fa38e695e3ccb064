"""The only place that imports redis."""
