"""What a process has once: its CPU level, its pool of threads, its blocks of memory."""
