"""The common runner: how implementations of graph attention are tuned, measured and compared."""
