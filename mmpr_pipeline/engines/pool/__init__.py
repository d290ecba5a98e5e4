"""Engine actors as one engine: starting them, routing requests to them, and what happens when one dies."""
