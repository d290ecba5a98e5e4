"""What is known of an evaluation set without its rows: hashes of its images and words, kept, published and fetched."""
