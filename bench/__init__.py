"""Benchmarks: what the parts that are in everybody's way cost, beside the least that they could cost."""
