"""The link between a gateway replica and a recogniser replica: one socket, one message a tick for all calls.

    gateway                                             recogniser
    LinkedTranscriber ─ LinkKeeper ─ SocketLink ══════ LinkListener ─ StreamingRecognizer
                          │  commands ►  ◄ results, load                │
                          └── where are you? (Serve handle) ────────────┘ address and key

`messages` packs what is said, `frames` cuts the byte stream and proves who speaks, `listener` and `dialer` are the two
ends, `keeper` finds the recognisers that there are. Ray is not known here: who asks for addresses is told how.
"""
