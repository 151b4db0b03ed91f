"""The errors that trimtab raises for its user; each carries the exit status of the command line."""


class TrimtabError(Exception):
    """Something the user can put right. The message says what was got, what is allowed, what to do."""

    exit_status = 2


class NoSuchRunError(TrimtabError):
    """A path or name that is no run of trimtab."""
