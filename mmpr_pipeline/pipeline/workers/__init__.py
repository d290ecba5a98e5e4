"""Workers of a build: a shard, shards on Ray, the screening pass."""
