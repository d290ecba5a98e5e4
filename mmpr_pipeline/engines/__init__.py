"""Engines: what turns a prompt into rollouts, behind one protocol."""
