"""A benchmark result as one page for people: pictures, tables and a summary in words, losses included."""

from training.report.result import ReportError
from training.report.summary import summary_sentences
from training.report.write import ReportFiles, markdown_tables, read_result, write_report

__all__ = ["ReportError", "ReportFiles", "markdown_tables", "read_result", "summary_sentences", "write_report"]
