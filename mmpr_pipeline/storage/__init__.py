"""Where outputs live: a local directory or an S3 prefix behind one small interface."""

from mmpr_pipeline.storage.journal import Journal, JournalWriter
from mmpr_pipeline.storage.store import MissingKeyError, Store, absolute_model, absolute_url, open_store

__all__ = [
    "Journal",
    "JournalWriter",
    "MissingKeyError",
    "Store",
    "absolute_model",
    "absolute_url",
    "open_store",
]
