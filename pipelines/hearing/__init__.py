"""How a call's speech reaches a recogniser: whole utterances again and again, or a stream over a link."""
