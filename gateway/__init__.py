"""The gateway: the HTTP API, the command line and the place where the other parts are wired together."""
