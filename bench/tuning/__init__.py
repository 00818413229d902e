"""Tuning with Optuna, which nothing outside this package imports: the search, its store, and the store's pages."""
