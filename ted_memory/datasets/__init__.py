"""Data sets: rows of many shapes become samples."""

from ted_memory.datasets.reading import read_samples

__all__ = ["read_samples"]
