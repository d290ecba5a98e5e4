"""The sections of bench/training_gpu.py."""
