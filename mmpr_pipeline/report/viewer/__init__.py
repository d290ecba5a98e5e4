"""The viewer: a page over the shards of a dataset, served or as a static folder."""
