"""`mmpr sources add`: look at files or a Hub data set, guess which column is what, say why, write the declaration."""

from mmpr_pipeline.sources.adding.draft import Draft, draft_source
from mmpr_pipeline.sources.adding.look import write_rows
from mmpr_pipeline.sources.adding.meta import MetaEntry, draft_entry, meta_entries

__all__ = ["Draft", "MetaEntry", "draft_entry", "draft_source", "meta_entries", "write_rows"]
