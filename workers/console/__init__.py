"""The console: a side's pages, its figures as JSON and server-sent events, `/metrics`, the public notice."""
