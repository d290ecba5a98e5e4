"""The policy: loading, prefix sharing, attention, memory."""
