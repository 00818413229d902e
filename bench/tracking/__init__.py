"""MLflow as a view of the records. Nothing outside this package imports mlflow."""
