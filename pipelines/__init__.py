"""The conversation: session core, wire protocol, audio and text handling, ports and runner.

Imports no Ray or model library.
"""
