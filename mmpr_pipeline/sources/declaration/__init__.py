"""Declarations: their schema, the catalog, licences."""
