"""Where outputs live: a local directory or an S3 prefix behind one small interface."""

from mmpr_pipeline.storage.journal import Journal, JournalWriter
from mmpr_pipeline.storage.lock import is_held, lease
from mmpr_pipeline.storage.open import open_store
from mmpr_pipeline.storage.store import MissingKeyError, Store, absolute_model, absolute_url

__all__ = [
    "Journal",
    "JournalWriter",
    "MissingKeyError",
    "Store",
    "absolute_model",
    "absolute_url",
    "is_held",
    "lease",
    "open_store",
]
