"""What `inference/loadtest.py` is made of: a client, two ways to load, their results."""
