"""What each verb of the command line does, one file per verb; the same functions serve Python callers."""
