"""Who runs jobs: child processes on this machine's slots, or on those of a Dask cluster's workers."""
