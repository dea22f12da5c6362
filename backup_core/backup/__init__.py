"""A backup: plan, save batches, commit. `runner.py` is the whole of it on one page."""
