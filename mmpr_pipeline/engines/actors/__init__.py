"""The Ray actor that hosts an engine, what it and its pool say to each other, and where requests go."""
