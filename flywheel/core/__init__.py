"""Floor 0: records, identities, errors, events. Knows nothing of git, tests or storage."""
