"""Engines in Ray actors: the actor, the pool that routes to actors, and their messages."""
