"""Stores at `shelf://PATH`: a directory by another name."""

from mmpr_pipeline.storage.local import LocalStore


class Shelf(LocalStore):
    def __init__(self, url):
        super().__init__(url.removeprefix("shelf://"))
        self.url = url
