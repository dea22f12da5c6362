"""Bringing a snapshot back into a folder: what goes where (`plan.py`), and doing it (`run.py`)."""
