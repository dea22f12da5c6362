"""Speed against a peer, as ratios of medians in one run: `make bench`. Machines are noisy; none of this is a test."""
