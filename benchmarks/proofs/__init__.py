"""What `benchmarks/correctness.py` runs, in processes of their own."""
