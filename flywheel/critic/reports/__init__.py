"""What test runners of other languages report, read into one record.

`read` takes the bytes that a tool wrote and the name of their format, and returns a `Report`. One
module reads one format; `formats.FORMATS` lists them. Nothing here runs anything.
"""

from flywheel.critic.reports.formats import FORMATS, Format, read
from flywheel.critic.reports.report import OUTCOMES, Report, Result

__all__ = ["FORMATS", "OUTCOMES", "Format", "Report", "Result", "read"]
