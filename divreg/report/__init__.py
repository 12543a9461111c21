"""Records to one page: what happened to the diversity of a run, in one HTML file and one JSON.

Neither torch nor TRL is imported: a report can be made on any machine that has the directory.
"""

from divreg.report.command import add_arguments as add_arguments
from divreg.report.command import main as main
from divreg.report.write import ReportResult as ReportResult
from divreg.report.write import write_report as write_report

__all__ = ["ReportResult", "add_arguments", "main", "write_report"]
