"""The mathematics, one operator a file; names that start with `_` are helpers."""
