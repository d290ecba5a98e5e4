"""Prompts for online RL: which questions, and in which layout."""
