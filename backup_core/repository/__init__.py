"""The open restic format, version 2: what lies in a repository, and how it is read and written."""
