"""Reviewing a source: checks, findings, previews."""
