"""Data sets, one file each, found by file name; names starting with _ are helpers."""
