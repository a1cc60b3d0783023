from .report import Report as Report
from .tables import format_table as format_table
from .tables import tables as tables
