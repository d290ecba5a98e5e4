"""A distribution of a third party, for tests."""
