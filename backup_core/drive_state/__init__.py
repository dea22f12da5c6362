"""What makes the next run cheap: where every item lives, what is stored, and how far the feed was read.

An accelerator, never the truth: whatever is lost or damaged here, the next run enumerates the drive and heals it.
"""
