"""The ways of computing it, one back end a file; names that start with `_` are helpers."""
