"""Tests are spoken to in English, whatever the locale of the machine."""

import os

os.environ["LC_ALL"] = "C.UTF-8"
os.environ.pop("TRIMTAB_LANG", None)
