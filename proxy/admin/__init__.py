"""The admin port: health, the HTTP API, and the pages built on it. Never the way of a paid call."""
