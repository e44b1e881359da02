"""The demonstration: paid APIs of our own on loopback, and a driver that spends a small budget step by step."""
