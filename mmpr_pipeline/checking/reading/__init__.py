"""Text to value: numbers, letters, dates, words."""
