"""The engine for any server with the OpenAI chat protocol."""
