"""Files of a source: local, on S3, on the Hub, in every format."""
