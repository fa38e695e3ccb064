"""Benchmarks: what the parts that are in everybody's way cost, and the least they could cost."""
