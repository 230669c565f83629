"""Three sentences that say what a sweep found, and what it cannot say."""
