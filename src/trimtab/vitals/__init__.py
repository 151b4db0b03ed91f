"""What one optimizer step looks like in numbers: every quantity, defined once."""

from ._quantities import KEY as KEY
from ._quantities import TABLES as TABLES
from ._quantities import Quantity as Quantity
from ._quantities import Table as Table
