"""`python -m trimtab` and the command `trimtab`."""

import sys


def main() -> int:
    """Run the command line; the exit status."""
    from trimtab._pandas import without_pandas
    from trimtab.cli import main as run_cli

    without_pandas()
    return run_cli()


if __name__ == "__main__":
    # `-m` put the current directory first: a `socket.py` that lies there is the user's, not for us.
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        del sys.path[0]
    sys.exit(main())
