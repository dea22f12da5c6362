"""Keeping repositories whole: verifying what is stored."""
