"""What is measured at checkpoints: held-out pairs, fixed questions, benchmarks."""
