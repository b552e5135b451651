"""Speed, start-up time and memory of the networks, apart from archive runs."""
