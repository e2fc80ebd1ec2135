"""Pure scaling decisions, GPU packing, and their simulator."""
