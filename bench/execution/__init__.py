"""Who makes the shards: engines that start processes, and one loop that reads from the disk what is done."""
