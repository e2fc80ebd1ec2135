"""Engines behind the ports of the conversation, one folder a family; none of them knows Ray."""
