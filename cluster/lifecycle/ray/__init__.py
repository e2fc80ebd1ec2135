"""A local Ray head on loopback, its front end, and its REST interfaces."""
