"""The paper's experiment in miniature: does training on built preference data help? From one config to one table."""
