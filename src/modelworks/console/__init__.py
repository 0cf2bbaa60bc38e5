"""The web console: server-rendered pages over the public API; `pages.install` adds them."""
