"""Other evaluation kits, run in their own environments against a served model."""
