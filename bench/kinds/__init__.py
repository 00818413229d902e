"""Kinds of experiment that a paper's table may run, one file each."""
