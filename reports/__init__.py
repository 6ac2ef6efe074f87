"""The report: scores, statistics, tables, figures and the page."""
