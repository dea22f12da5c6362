"""The command line: one file per verb. A verb unpacks its arguments, calls a room, and prints what it says."""
