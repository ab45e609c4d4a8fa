"""Results that travel: bundles of tables without people, and the leaderboard that checks and collects them."""
