"""Microsoft Graph: who may ask, what changed in a drive, and the content of its files."""
