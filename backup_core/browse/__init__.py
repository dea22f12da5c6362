"""Looking into a repository without changing it."""
