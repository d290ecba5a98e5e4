"""Images of a source: references, archives, the web, decoding."""
