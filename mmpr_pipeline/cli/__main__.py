"""`python -m mmpr_pipeline.cli`: the same as `mmpr`."""

from mmpr_pipeline.cli import main

main()
