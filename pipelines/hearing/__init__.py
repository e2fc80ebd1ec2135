"""How a call's speech reaches a recogniser: as utterances recognised again as they grow, or as a stream."""
