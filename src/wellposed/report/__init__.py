"""Showing a record: as text and as JSON. This package knows findings and nothing else of wellposed."""

from wellposed.report.report import Report

__all__ = ["Report"]
