"""What is asked, how often, and what an answer is worth. Pure functions over records."""
