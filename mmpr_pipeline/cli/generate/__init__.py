"""Writes the generated files of the repository: docs/cli.md and schemas/."""
