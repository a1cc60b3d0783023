from .lists import check_suffix as check_suffix
from .lists import lists_summary as lists_summary
from .lists import lists_table as lists_table
from .lists import write_lists as write_lists
from .report import Report as Report
from .store import store_table as store_table
from .tables import tables as tables
from .terminal import format_tables as format_tables
