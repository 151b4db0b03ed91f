"""trimtab watches a deep-learning training, unchanged, and tells what went wrong, where and why."""

from ._errors import TrimtabError as TrimtabError
from ._version import __version__ as __version__
