"""How fast: timing, where a step's time goes, and the least that any machine, or this one, needs for it."""
