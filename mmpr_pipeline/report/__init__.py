"""Pages to look at a dataset with: the report, one file that tells it all, and the viewer, a local web page over it."""
