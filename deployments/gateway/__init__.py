"""The front end: sockets, REST, and the session loop of each call in the process that holds its socket."""
