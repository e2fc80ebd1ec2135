"""The conversation: session core, wire protocol, audio and text pieces, ports, runner. No Ray, no model library."""
