"""The routes of the HTTP API, one file each; each is a function from `Service` to Starlette routes."""
