"""Floor 11: the command line. Reads arguments, calls use-cases, prints; decides nothing."""
