"""A model that judges answers: any OpenAI-compatible server, or an engine of this package."""
