"""Publishing an output to the Hub: the card, Parquet shards, resumable uploads."""
