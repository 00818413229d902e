"""What the studies measure: how trained networks attend, and which of them can look a key up."""
