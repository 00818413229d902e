"""One file per device kind, each exporting `DEVICE`."""
