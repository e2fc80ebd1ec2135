"""The link between a gateway replica and a recogniser replica: one socket, with one message per tick for all calls.

    gateway                                             recogniser
    LinkedTranscriber ─ LinkKeeper ─ SocketLink ══════ LinkListener ─ StreamingRecognizer
                          │  commands ►  ◄ results, load                │
                          └── where are you? (Serve handle) ────────────┘ address and key

`messages` encodes the messages, `frames` divides the byte stream and authenticates both ends, `listener` and `dialer`
are the two ends, and `keeper` finds the recognisers. This package does not know Ray: the function that finds the
addresses is passed in.
"""
