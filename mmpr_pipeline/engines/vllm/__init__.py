"""The vLLM engine: loading, prompts, and stepping it in a thread."""
