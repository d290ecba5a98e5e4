"""What is asked in every case, whether or not another strategy makes a pair: the blind filter, format, steps."""
