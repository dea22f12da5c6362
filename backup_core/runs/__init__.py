"""Runs: which drives are to be backed up now, who works on each, and how it ended. It backs up nothing itself."""
