"""Views of a paper's table beside ours: for people, for programs, and drawn."""
