"""The engines behind the ports of the conversation, with one folder per family. None of them knows Ray."""
