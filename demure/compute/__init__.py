"""The machine: which device computes, and which of several processes this one is."""
