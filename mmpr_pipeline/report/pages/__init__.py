"""Pages written once: the report on a dataset, the page of a checked source."""
