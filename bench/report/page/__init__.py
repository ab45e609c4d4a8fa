"""The report as one folder that opens from the disk: a page, its thumbnails, the figures next to it."""

from bench.report.page.write import write_comparison_page, write_run_page

__all__ = ["write_comparison_page", "write_run_page"]
