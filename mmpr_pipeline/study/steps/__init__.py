"""Steps of a study."""
