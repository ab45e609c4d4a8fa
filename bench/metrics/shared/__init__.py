"""What several metrics have in common: who is eligible, how an aggregate becomes a score."""
