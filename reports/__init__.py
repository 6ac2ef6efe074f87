"""Reports: scores, statistics, tables, figures and the page."""
