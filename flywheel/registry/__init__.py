"""Floor 8: versions of programs: what each is, where it came from, and which one is deployed."""
