"""The one error that reaches a person as a line instead of a traceback."""


class UserError(Exception):
    """The user's mistake, or something only the user can mend: what was wrong, where, and what to do. Exit code 2."""
