"""A local Ray head on loopback, its front, and its REST interfaces."""
