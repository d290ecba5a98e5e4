"""`mmpr sources add`: look at files or a Hub data set, guess which column is what, say why, write the declaration."""

from mmpr_pipeline.sources.adding.draft import Draft, draft_source

__all__ = ["Draft", "draft_source"]
