"""How samples are taken: the peers, the scenarios, the load, and the processes on their CPUs."""
