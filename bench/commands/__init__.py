"""One file per command, each with `configure(parser)` and `execute(arguments) -> exit code`."""
